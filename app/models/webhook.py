from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import Identifier, TimestampedMixin, UTCDateTime


class Destination(Base):
    """A Discord channel or Discord webhook, shared by all webhooks that post there.

    A dispatcher holds it by ``claim_token`` while it sends: that is what keeps one message in flight per
    destination. ``paused_until`` is the earliest time of the next request (a limit, or a failure to wait out).
    """

    __tablename__ = "destinations"

    # Its path in Discord's API without the secret: channels/{id} or webhooks/{id}.
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    claim_token: Mapped[str | None] = mapped_column(Identifier)
    claimed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    paused_until: Mapped[datetime | None] = mapped_column(UTCDateTime)


Index(None, Destination.claimed_at)


class Webhook(TimestampedMixin, Base):
    """Where the events of one severity level of one traffic source go. The database holds "at most one"."""

    __tablename__ = "webhooks"
    __table_args__ = (
        UniqueConstraint("traffic_source_id", "level"),
        CheckConstraint("level IN ('fatal', 'warning', 'info')", name="level"),
        CheckConstraint("state IN ('active', 'suspended')", name="state"),
        Index(None, "destination_id"),
    )

    type: Mapped[str] = mapped_column(String(10))
    level: Mapped[str] = mapped_column(String(7))
    # The value as it was sent, with {token} in place of the secret, which is kept in `token` alone.
    value_template: Mapped[str] = mapped_column(String(200))
    token: Mapped[str | None] = mapped_column(String(200))
    destination_id: Mapped[str] = mapped_column(ForeignKey("destinations.id"))
    traffic_source_id: Mapped[str] = mapped_column(Identifier, ForeignKey("traffic_sources.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(9), default="active")
    reason: Mapped[str | None] = mapped_column(String(500))
    last_delivered_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    last_error: Mapped[str | None] = mapped_column(String(500))
    # Until then further events gather, to go out as one message.
    next_message_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def value(self) -> str:
        return fill_in(self.value_template, self.token)


def fill_in(value_template: str, token: str | None) -> str:
    """The value as it was sent, from its template and its secret."""
    return value_template.replace("{token}", token or "")
