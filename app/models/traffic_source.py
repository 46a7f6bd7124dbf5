"""Traffic sources, and their ingest tokens."""

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import IdentifiedMixin, Identifier, TimestampedMixin


class TrafficSource(TimestampedMixin, Base):
    """A monitored application, owned by one user.

    A source without a user is deleted: no query returns it, and dispatchers purge its rows in batches.
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
    """A long-lived token that can only report to one source. Only its hash is stored."""

    __tablename__ = "ingest_tokens"
    __table_args__ = (Index(None, "traffic_source_id"),)

    name: Mapped[str] = mapped_column(String(100))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    traffic_source_id: Mapped[str] = mapped_column(Identifier, ForeignKey("traffic_sources.id", ondelete="CASCADE"))
