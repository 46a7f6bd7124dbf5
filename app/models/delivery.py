from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.extensions import Base
from app.models.columns import IdentifiedMixin, Identifier, UTCDateTime, new_id
from app.models.webhook import Webhook

STATES = ("pending", "delivering", "delivered", "discarded")


class Delivery(IdentifiedMixin, Base):
    """The outbox: one message that is owed to a webhook.

    A row is written in the transaction of the record that caused it, so neither exists without the other.
    While nothing was sent, the pending rows of a webhook may be merged into one (``event_count`` adds up);
    once a row has a ``nonce`` it is what Discord was asked to post and stays as it is.

    No pending row is ever without a next step: whether it may be sent now (mute, suspension, digest window) is asked of
    its webhook when a dispatcher looks, and never written into the row. So no order in which a report commits beside a
    change of its webhook can leave one behind.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'delivering', 'delivered', 'discarded')", name="state"),
        Index(None, "webhook_id", "id"),
        Index(
            "ix_deliveries_open",
            "webhook_id",
            "id",
            sqlite_where=text("state IN ('pending', 'delivering')"),
            postgresql_where=text("state IN ('pending', 'delivering')"),
        ),
        Index(
            "ix_deliveries_pending",
            "webhook_id",
            "id",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
    )

    webhook_id: Mapped[str] = mapped_column(Identifier, ForeignKey("webhooks.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(10), default="pending")
    event_count: Mapped[int] = mapped_column(BigInteger, default=1)
    # What happened, as JSON: see app/digests.py.
    digest: Mapped[str] = mapped_column(Text)
    nonce: Mapped[str | None] = mapped_column(String(25))
    attempts: Mapped[int] = mapped_column(default=0)
    # Of a delivery with a nonce: when it is tried again. One without is due at once. None: settled.
    next_attempt_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    claim_token: Mapped[str | None] = mapped_column(Identifier)
    last_error: Mapped[str | None] = mapped_column(String(500))
    message_id: Mapped[str | None] = mapped_column(String(20))
    # Kept when it is to be delivered again, so that its events count once.
    delivered_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    webhook: Mapped[Webhook] = relationship(viewonly=True)

    @property
    def due_at(self) -> datetime | None:
        """When it is tried next, as far as its webhook lets it; None where nothing is planned."""
        if self.state != "pending" or self.webhook.state == "suspended":
            return None
        waits = (self.next_attempt_at, self.webhook.muted_until, self.webhook.next_message_at)
        return max((moment for moment in waits if moment), default=None)

    @property
    def told_at(self) -> datetime | None:
        """When it was delivered; None while it is to be delivered again."""
        return self.delivered_at if self.state == "delivered" else None


class DeliveryAttempt(Base):
    """One try at a delivery and what Discord said. Holds no secret."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (Index(None, "delivery_id", "id"),)

    id: Mapped[str] = mapped_column(Identifier, primary_key=True, default=new_id)
    delivery_id: Mapped[str] = mapped_column(Identifier, ForeignKey("deliveries.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(UTCDateTime)
    outcome: Mapped[str] = mapped_column(String(20))
    status: Mapped[int | None] = mapped_column(SmallInteger)
    discord_code: Mapped[int | None]
    reason: Mapped[str | None] = mapped_column(String(500))


class DispatcherHeartbeat(Base):
    """A dispatcher process and when it was last seen at work."""

    __tablename__ = "dispatcher_heartbeats"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(UTCDateTime)
    # How many webhooks and steps it has set aside, and why the last one was.
    set_aside: Mapped[int] = mapped_column(default=0, server_default="0")
    trouble: Mapped[str | None] = mapped_column(String(500))


class OutcomeCount(Base):
    """How often dispatchers met an outcome. Never goes back, while deliveries and attempts are purged."""

    __tablename__ = "outcome_counts"

    # "attempts" or "events"
    counted: Mapped[str] = mapped_column(String(8), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(20), primary_key=True)
    status: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)
