"""Webhooks, the destinations that they share, and the limits that Discord imposes."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import EncryptedString, IdentifiedMixin, Identifier, UTCDateTime, same_as_created

JSON_DOCUMENT = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Destination(Base):
    """A Discord channel or Discord webhook, shared by all webhooks that post there. Added with the first message.

    A dispatcher claims it by ``claim_token`` while it sends, so that each destination has one message in flight.
    ``paused_until`` is the earliest time of the next request, after a rate limit or a failure.
    """

    __tablename__ = "destinations"

    # channels/{id} (the bot posts) or webhooks/{id}/{hash of the token} (no bot needed).
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    claim_token: Mapped[str | None] = mapped_column(Identifier)
    claimed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    paused_until: Mapped[datetime | None] = mapped_column(UTCDateTime)


Index(
    None,
    Destination.claimed_at,
    sqlite_where=Destination.claimed_at.is_not(None),
    postgresql_where=Destination.claimed_at.is_not(None),
)


class DiscordLimit(Base):
    """A limit on all destinations of a kind together, shared by all dispatchers.

    ``paused_until`` comes from a global rate limit or, with a ``reason``, from an alarm that a person must act on: a
    refused bot token, a ban. ``invalid_requests`` counts answers of 401, 403 and 429 since ``invalid_since``; Discord
    bans a host for 10,000 of them within 10 minutes.
    """

    __tablename__ = "discord_limits"

    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    paused_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    reason: Mapped[str | None] = mapped_column(String(500))
    invalid_requests: Mapped[int] = mapped_column(default=0)
    invalid_since: Mapped[datetime] = mapped_column(UTCDateTime)


class RefusalCount(Base):
    """The number of answers of 401 and 403 that a user answers for since ``since``: see Webhook.set_by_id.

    Discord counts them for the whole host; each user gets a share of that budget.
    """

    __tablename__ = "refusal_counts"

    user_id: Mapped[str] = mapped_column(Identifier, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int]
    since: Mapped[datetime] = mapped_column(UTCDateTime)


class Webhook(IdentifiedMixin, Base):
    """The address for events of one level of one traffic source. A unique constraint allows one per level.

    A webhook without a traffic source is deleted: see TrafficSource.
    """

    __tablename__ = "webhooks"
    __table_args__ = (
        UniqueConstraint("traffic_source_id", "level"),
        CheckConstraint("level IN ('fatal', 'warning', 'info')", name="level"),
        CheckConstraint("state IN ('active', 'suspended')", name="state"),
        Index(None, "destination_id"),
        Index(
            "ix_webhooks_suspended",
            "id",
            sqlite_where=text("state = 'suspended'"),
            postgresql_where=text("state = 'suspended'"),
        ),
        Index(
            "ix_webhooks_deleted",
            "id",
            sqlite_where=text("traffic_source_id IS NULL"),
            postgresql_where=text("traffic_source_id IS NULL"),
        ),
        Index(
            "ix_webhooks_incident",
            "last_event_at",
            sqlite_where=text("incident_since IS NOT NULL"),
            postgresql_where=text("incident_since IS NOT NULL"),
        ),
        Index(
            "ix_webhooks_reminder",
            "next_reminder_at",
            sqlite_where=text("remind_after_seconds IS NOT NULL AND incident_since IS NOT NULL"),
            postgresql_where=text("remind_after_seconds IS NOT NULL AND incident_since IS NOT NULL"),
        ),
    )

    type: Mapped[str] = mapped_column(String(10))
    level: Mapped[str] = mapped_column(String(7))
    # The value as the user sent it, with {token} in place of the secret, which only `token` holds.
    value_template: Mapped[str] = mapped_column(String(200))
    # Empty if none of ENCRYPTION_KEYS decrypts it.
    token: Mapped[str | None] = mapped_column(EncryptedString(400))
    # No foreign key: dispatchers add destinations when they send, and purge unused ones.
    destination_id: Mapped[str] = mapped_column(String(64))
    traffic_source_id: Mapped[str | None] = mapped_column(
        Identifier, ForeignKey("traffic_sources.id", ondelete="SET NULL")
    )
    # Who last set or resumed it, and so answers for refused messages; None: the source's owner. May be gone.
    set_by_id: Mapped[str | None] = mapped_column(Identifier)
    # The time of the user's last change; a dispatcher's updates do not set it.
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=same_as_created)
    state: Mapped[str] = mapped_column(String(9), default="active")
    reason: Mapped[str | None] = mapped_column(String(500))
    last_delivered_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    last_error: Mapped[str | None] = mapped_column(String(500))
    # The end of the digest window, until which events gather into one message.
    next_message_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    muted_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # The current incident: a recovery notice is sent after RECOVERY_AFTER_SECONDS without events.
    incident_since: Mapped[datetime | None] = mapped_column(UTCDateTime)
    incident_events: Mapped[int] = mapped_column(BigInteger, default=0)
    last_event_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # The policy: see app/policies.py. ``ignore_rules`` is a list of CompiledRule, None if it is empty.
    ignore_rules: Mapped[list[Any] | None] = mapped_column(JSON_DOCUMENT)
    threshold_events: Mapped[int | None]
    threshold_seconds: Mapped[int | None]
    mention_role_id: Mapped[str | None] = mapped_column(String(20))
    remind_after_seconds: Mapped[int | None]
    reminded_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    next_reminder_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # The events ignored up to the last message that gave their number, and the time of that message.
    ignored_told: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    ignored_told_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def value(self) -> str:
        return fill_in(self.value_template, self.token)


class PolicyCount(Base):
    """How many events a webhook's policy ignored and held back, in slots: one row would be locked by every report."""

    __tablename__ = "policy_counts"

    webhook_id: Mapped[str] = mapped_column(Identifier, ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True)
    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    ignored: Mapped[int] = mapped_column(BigInteger)
    held_back: Mapped[int] = mapped_column(BigInteger)


class SeenKind(Base):
    """When a message of a webhook last showed a kind of events, of which only a hash is kept."""

    __tablename__ = "seen_kinds"
    __table_args__ = (Index(None, "seen_at"),)

    webhook_id: Mapped[str] = mapped_column(Identifier, ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(UTCDateTime)


def fill_in(value_template: str, token: str | None) -> str:
    """The value as the user sent it; {token} remains if the secret cannot be decrypted."""
    return value_template.replace("{token}", token or "{token}")
