"""Traffic sources that are shared with other users."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.extensions import Base
from app.models.columns import Identifier, TimestampedMixin
from app.models.traffic_source import TrafficSource

PERMISSIONS = ("readOnly", "editor")
STATUSES = ("pending", "accepted", "rejected")


class Share(TimestampedMixin, Base):
    """An invitation of a user to a traffic source, and the invited user's answer. Only an accepted one gives access."""

    __tablename__ = "shared_traffic_sources"
    __table_args__ = (
        UniqueConstraint("traffic_source_id", "shared_with_id"),
        CheckConstraint("permission IN ('readOnly', 'editor')", name="permission"),
        CheckConstraint("status IN ('pending', 'accepted', 'rejected')", name="status"),
        Index(None, "shared_with_id"),
    )

    traffic_source_id: Mapped[str] = mapped_column(Identifier, ForeignKey("traffic_sources.id", ondelete="CASCADE"))
    shared_with_id: Mapped[str] = mapped_column(Identifier, ForeignKey("users.id", ondelete="CASCADE"))
    permission: Mapped[str] = mapped_column(String(8), default="readOnly")
    status: Mapped[str] = mapped_column(String(8), default="pending")

    traffic_source: Mapped[TrafficSource] = relationship(lazy="joined", innerjoin=True)

    @property
    def user_id(self) -> str | None:
        """The id of the source's owner; None if the source is deleted."""
        return self.traffic_source.user_id
