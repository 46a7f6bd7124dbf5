"""The outbox and its history: deliveries, attempts, dispatchers' heartbeats, outcome counts."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.extensions import Base
from app.models.columns import IdentifiedMixin, Identifier, UTCDateTime, new_id
from app.models.webhook import Webhook

STATES = ("pending", "delivering", "delivered", "discarded")


class Delivery(IdentifiedMixin, Base):
    """A row of the outbox: one message that is owed to a webhook.

    A row is written in the transaction of its record, so neither exists without the other. Pending rows of a webhook
    without a ``nonce`` may be merged into one, which adds up ``event_count``; a row with a ``nonce`` may have been sent
    and does not change.

    Mute, suspension and digest window are columns of the webhook, which dispatchers read at each scan; they are never
    copied into its rows. So a report that commits beside a change of its webhook cannot leave a stuck row.
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
        # Notices and tried messages: few, however many deliveries gather beside them.
        Index(
            "ix_deliveries_with_nonce",
            "webhook_id",
            "id",
            sqlite_where=text("state IN ('pending', 'delivering') AND nonce IS NOT NULL"),
            postgresql_where=text("state IN ('pending', 'delivering') AND nonce IS NOT NULL"),
        ),
    )

    webhook_id: Mapped[str] = mapped_column(Identifier, ForeignKey("webhooks.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(10), default="pending")
    event_count: Mapped[int] = mapped_column(BigInteger, default=1)
    # JSON of a Digest or Notice: see app/digests.py.
    digest: Mapped[str] = mapped_column(Text)
    nonce: Mapped[str | None] = mapped_column(String(25))
    attempts: Mapped[int] = mapped_column(default=0)
    # With a nonce: the time of the next attempt. Without one, the delivery is due at once. None: settled.
    next_attempt_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    claim_token: Mapped[str | None] = mapped_column(Identifier)
    last_error: Mapped[str | None] = mapped_column(String(500))
    message_id: Mapped[str | None] = mapped_column(String(20))
    # Kept on redelivery, so that an incident counts the events once.
    delivered_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    webhook: Mapped[Webhook] = relationship(viewonly=True)

    @property
    def due_at(self) -> datetime | None:
        """The time of the next attempt; None if none is planned."""
        if self.state != "pending" or self.webhook.state == "suspended":
            return None
        waits = (self.next_attempt_at, self.webhook.muted_until, self.webhook.next_message_at)
        return max((moment for moment in waits if moment), default=None)

    @property
    def shown_delivered_at(self) -> datetime | None:
        """``delivered_at``, but None while a redelivery is pending."""
        return self.delivered_at if self.state == "delivered" else None


class DeliveryAttempt(Base):
    """One attempt at a delivery, with Discord's answer. Holds no secret."""

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
    """The last heartbeat of a dispatcher process."""

    __tablename__ = "dispatcher_heartbeats"

    id: Mapped[str] = mapped_column(Identifier, primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(UTCDateTime)
    # The number of webhooks and steps that it has set aside, and the reason for the last one.
    set_aside: Mapped[int] = mapped_column(default=0, server_default="0")
    trouble: Mapped[str | None] = mapped_column(String(500))


class OutcomeCount(Base):
    """Counters of outcomes over all dispatchers. Unlike deliveries and attempts, they are never purged."""

    __tablename__ = "outcome_counts"

    # "attempts" or "events"
    counted: Mapped[str] = mapped_column(String(8), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(20), primary_key=True)
    status: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)
