"""What became of claimed messages, written down for many at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from app.discord.client import Outcome, Verdict
from app.extensions import db
from app.models import Delivery, DeliveryAttempt, Destination, Webhook
from app.models.columns import UTCDateTime
from app.repositories.base import table_of, unsynchronized
from app.repositories.outbox import Claim


@dataclass(frozen=True)
class Settlement:
    """What Discord said to a claim, and what follows: the delivery's new values, and its destination's pause."""

    claim: Claim
    outcome: Outcome
    state: str
    next_attempt_at: datetime | None
    attempts: int
    nonce: str | None
    last_error: str | None
    paused_until: datetime | None

    @property
    def is_delivered(self) -> bool:
        return self.outcome.verdict is Verdict.DELIVERED


def settle(settlements: Sequence[Settlement], now: datetime) -> Sequence[Settlement]:
    """Returns those whose claim was still held; nothing is written of others."""
    held = _lock_held(settlements)
    if held:
        connection = db.session.connection()
        connection.execute(_SETTLE_DELIVERY, [_delivery(each, now) for each in held])
        connection.execute(_ADD_ATTEMPT, [_attempt(each, now) for each in held])
        connection.execute(_NOTE_ON_WEBHOOK, [_webhook(each, now) for each in held])
        connection.execute(_RELEASE_DESTINATION, [_destination(each) for each in held])
        if back := {each.claim.destination_id for each in held if each.is_delivered and each.claim.after_pause}:
            _retry_now(back, now)
    return held


def _lock_held(settlements: Sequence[Settlement]) -> list[Settlement]:
    """Each webhook before its delivery, as the deletion of a webhook locks them."""
    claimed = (
        select(Delivery.id, Delivery.claim_token)
        .select_from(Webhook)
        .join(Delivery, Delivery.webhook_id == Webhook.id)
        .where(Delivery.id.in_([each.claim.delivery_id for each in settlements]))
        .with_for_update(key_share=True)
    )
    held = {(row.id, row.claim_token) for row in db.session.execute(claimed)}
    return [each for each in settlements if (each.claim.delivery_id, each.claim.token) in held]


def _delivery(settlement: Settlement, now: datetime) -> dict[str, Any]:
    return {
        "of_delivery": settlement.claim.delivery_id,
        "state": settlement.state,
        "next_attempt_at": settlement.next_attempt_at,
        "attempts": settlement.attempts,
        "nonce": settlement.nonce,
        "last_error": settlement.last_error,
        "message_id": settlement.outcome.message_id,
        "delivered_at": now if settlement.is_delivered else None,
    }


def _attempt(settlement: Settlement, now: datetime) -> dict[str, Any]:
    outcome = settlement.outcome
    return {
        "delivery_id": settlement.claim.delivery_id,
        "at": now,
        "outcome": outcome.verdict.value,
        "status": outcome.status,
        "discord_code": outcome.discord_code,
        "reason": outcome.reason,
    }


def _webhook(settlement: Settlement, now: datetime) -> dict[str, Any]:
    return {
        "of_webhook": settlement.claim.webhook_id,
        "delivered_at": now if settlement.is_delivered else None,
        "last_error": settlement.outcome.reason,
    }


def _destination(settlement: Settlement) -> dict[str, Any]:
    return {
        "of_destination": settlement.claim.destination_id,
        "of_claim": settlement.claim.token,
        "paused_until": settlement.paused_until,
    }


def _retry_now(destination_ids: Iterable[str], now: datetime) -> None:
    """Discord is back: what waited out a failure there need not wait any longer."""
    concerned = select(Webhook.id).where(Webhook.destination_id.in_(destination_ids))
    waiting = update(Delivery).where(
        Delivery.webhook_id.in_(concerned),
        Delivery.state == "pending",
        Delivery.attempts > 0,
        Delivery.next_attempt_at > now,
    )
    unsynchronized(waiting.values(next_attempt_at=now))


_SETTLE_DELIVERY = update(table_of(Delivery)).where(Delivery.id == bindparam("of_delivery")).values(claim_token=None)
_ADD_ATTEMPT = insert(table_of(DeliveryAttempt))
_NOTE_ON_WEBHOOK = (
    update(table_of(Webhook))
    .where(Webhook.id == bindparam("of_webhook"))
    .values(
        last_delivered_at=func.coalesce(bindparam("delivered_at", type_=UTCDateTime), Webhook.last_delivered_at),
        last_error=bindparam("last_error"),
    )
)
_RELEASE_DESTINATION = (
    update(table_of(Destination))
    .where(Destination.id == bindparam("of_destination"), Destination.claim_token == bindparam("of_claim"))
    .values(claim_token=None, claimed_at=None)
)
