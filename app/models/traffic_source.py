from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import IdentifiedMixin, Identifier, TimestampedMixin


class TrafficSource(TimestampedMixin, Base):
    """One monitored application. It belongs to one user.

    One without a user was deleted: nobody finds it, and dispatchers remove what belongs to it in small steps.
    """

    __tablename__ = "traffic_sources"
    __table_args__ = (
        UniqueConstraint("user_id", "traffic_domain"),
        Index(
            "ix_traffic_sources_deleted",
            "id",
            sqlite_where=text("user_id IS NULL"),
            postgresql_where=text("user_id IS NULL"),
        ),
    )

    name: Mapped[str] = mapped_column(String(100))
    traffic_domain: Mapped[str] = mapped_column(String(500))
    user_id: Mapped[str | None] = mapped_column(Identifier, ForeignKey("users.id", ondelete="SET NULL"))


class IngestToken(IdentifiedMixin, Base):
    """A long-lived token that can only report traffic to one source; only its hash is kept."""

    __tablename__ = "ingest_tokens"
    __table_args__ = (Index(None, "traffic_source_id"),)

    name: Mapped[str] = mapped_column(String(100))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    traffic_source_id: Mapped[str] = mapped_column(Identifier, ForeignKey("traffic_sources.id", ondelete="CASCADE"))
