from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import IdentifiedMixin, Identifier, UTCDateTime, new_id

STATES = ("pending", "delivering", "delivered", "discarded")


class Delivery(IdentifiedMixin, Base):
    """The outbox: one message that is owed to a webhook.

    A row is written in the transaction of the record that caused it, so neither exists without the other.
    While nothing was sent, the pending rows of a webhook may be merged into one (``event_count`` adds up);
    once a row has a ``nonce`` it is what Discord was asked to post and stays as it is.
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
            "ix_deliveries_due",
            "next_attempt_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
    )

    webhook_id: Mapped[str] = mapped_column(Identifier, ForeignKey("webhooks.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(10), default="pending")
    event_count: Mapped[int] = mapped_column(default=1)
    # What happened, as JSON: see discord/digest.py.
    digest: Mapped[str] = mapped_column(Text)
    nonce: Mapped[str | None] = mapped_column(String(25))
    attempts: Mapped[int] = mapped_column(default=0)
    # None: settled, or waiting for its webhook to be resumed.
    next_attempt_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    claim_token: Mapped[str | None] = mapped_column(Identifier)
    last_error: Mapped[str | None] = mapped_column(String(500))
    message_id: Mapped[str | None] = mapped_column(String(20))
    delivered_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


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


class OutcomeCount(Base):
    """How often dispatchers met an outcome. Never goes back, while deliveries and attempts are purged."""

    __tablename__ = "outcome_counts"

    # "attempts" or "events"
    counted: Mapped[str] = mapped_column(String(8), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(20), primary_key=True)
    status: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)
