"""Writes settlements of claimed deliveries, many at a time; only while their claim is valid."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, bindparam, case, func, select, update

from app.digests import Digest, to_datetime
from app.discord.outcome import Answer, Outcome
from app.extensions import db
from app.models import Delivery, DeliveryAttempt, Destination, Webhook
from app.models.columns import UTCDateTime, new_id
from app.repositories import seen_kinds
from app.repositories.base import begin_writing, table_of, unsynchronized
from app.repositories.claims import Claim
from app.repositories.outbox import HAS_NONCE, PENDING


@dataclass(frozen=True)
class Settlement:
    """Discord's answer to a claim, the delivery's new values, and its destination's pause."""

    claim: Claim
    answer: Answer
    state: str
    next_attempt_at: datetime | None
    attempts: int
    nonce: str | None
    last_error: str | None
    paused_until: datetime | None

    @property
    def is_delivered(self) -> bool:
        return self.answer.outcome is Outcome.DELIVERED


@dataclass(frozen=True)
class ValidClaims:
    """Tokens of still valid claims by delivery, and the deliveries whose webhook got another address meanwhile."""

    tokens: dict[str, str]
    moved: set[str]

    def has(self, claim: Claim) -> bool:
        return self.tokens.get(claim.delivery_id) == claim.token

    def has_moved(self, claim: Claim) -> bool:
        """Whether the claim is valid, but its webhook has another address by now."""
        return claim.delivery_id in self.moved and self.has(claim)


def lock_valid(claims: Iterable[Claim]) -> ValidClaims:
    """Lock the deliveries whose claims are still valid, with their webhooks, in the order of webhooks."""
    begin_writing()
    claimed = {(claim.delivery_id, claim.token): claim for claim in claims}
    query = (
        select(Delivery.id, Delivery.claim_token, Webhook.value_template, Webhook.token)
        .select_from(Webhook)
        .join(Delivery, Delivery.webhook_id == Webhook.id)
        .where(Delivery.id.in_([delivery_id for delivery_id, _ in claimed]))
        .order_by(Webhook.id)
        .with_for_update(key_share=True)
    )
    tokens, moved = {}, set()
    for row in db.session.execute(query):
        if claim := claimed.get((row.id, row.claim_token)):
            tokens[row.id] = claim.token
            if (row.value_template, row.token) != (claim.address.template, claim.address.token):
                moved.add(row.id)
    return ValidClaims(tokens, moved)


def write(settlements: Sequence[Settlement], valid: ValidClaims, now: datetime, window: timedelta) -> None:
    """Write the settlements whose claim is valid; of the others, release the destination only.

    A delivered message starts its webhook's digest window.
    """
    ours = [each for each in settlements if valid.has(each.claim)]
    ours.sort(key=lambda each: each.claim.webhook_id)
    connection = db.session.connection()
    if noted := [each for each in ours if each.is_delivered or not valid.has_moved(each.claim)]:
        connection.execute(_NOTE_ON_WEBHOOK, [_webhook(each, now, window) for each in noted])
    destinations = sorted(map(_destination, settlements), key=lambda values: str(values["of_destination"]))
    connection.execute(_RELEASE_DESTINATION, destinations)
    if ours:
        connection.execute(_SETTLE_DELIVERY, [_delivery(each, now) for each in ours])
        connection.execute(_ADD_ATTEMPT, [_attempt(each, now) for each in ours])
    seen_kinds.note((each.claim for each in ours if each.is_delivered), now)
    if back := {each.claim.destination_id for each in ours if each.is_delivered and each.claim.after_pause}:
        _retry_now(back, now)


def _delivery(settlement: Settlement, now: datetime) -> dict[str, Any]:
    return {
        "of_delivery": settlement.claim.delivery_id,
        "of_claim": settlement.claim.token,
        "state": settlement.state,
        "next_attempt_at": settlement.next_attempt_at,
        "attempts": settlement.attempts,
        "nonce": settlement.nonce,
        "last_error": settlement.last_error,
        "message_id": settlement.answer.message_id,
        "delivered": now if settlement.is_delivered else None,
    }


def _attempt(settlement: Settlement, now: datetime) -> dict[str, Any]:
    answer = settlement.answer
    return {
        "attempt_id": new_id(),
        "of_delivery": settlement.claim.delivery_id,
        "attempt_at": now,
        "attempt_outcome": answer.outcome.value,
        "attempt_status": answer.status,
        "attempt_code": answer.discord_code,
        "attempt_reason": answer.reason,
    }


def _webhook(settlement: Settlement, now: datetime, window: timedelta) -> dict[str, Any]:
    """Parameters for the webhook. Delivered events count for its incident, but not again after a redelivery."""
    claim, delivered = settlement.claim, settlement.is_delivered
    values: dict[str, Any] = {
        "of_webhook": claim.webhook_id,
        "delivered_at": now if delivered else None,
        "next_message": now + window if delivered else None,
        "error": settlement.answer.reason,
        "first_at": None,
        "last_at": None,
        "events": 0,
        "told": None,
        "told_at": None,
    }
    if delivered and claim.notes.ignored:
        values |= {"told": claim.notes.ignored_in_all, "told_at": now}
    if delivered and isinstance(claim.digest, Digest) and not claim.was_delivered:
        kinds = claim.digest.kinds.values()
        values["first_at"] = min(now, to_datetime(min(kind.first_at for kind in kinds)))
        values["last_at"] = min(now, to_datetime(max(kind.last_at for kind in kinds)))
        values["events"] = claim.event_count
    return values


def _destination(settlement: Settlement) -> dict[str, Any]:
    return {
        "of_destination": settlement.claim.destination_id,
        "of_claim": settlement.claim.token,
        "paused_until": settlement.paused_until,
    }


def _retry_now(destination_ids: Iterable[str], now: datetime) -> None:
    """Make postponed deliveries to these destinations due now, since Discord accepts messages again."""
    concerned = select(Webhook.id).where(Webhook.destination_id.in_(destination_ids))
    waiting = update(Delivery).where(
        Delivery.webhook_id.in_(concerned),
        HAS_NONCE,
        Delivery.state == PENDING,
        Delivery.attempts > 0,
        Delivery.next_attempt_at > now,
    )
    unsynchronized(waiting.values(next_attempt_at=now))


def _earlier(known: ColumnElement[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    """The earlier time; ``known`` may be null. A late report must not move the beginning of an incident."""
    return case((known < new, known), else_=func.coalesce(new, known))


def _later(known: ColumnElement[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    """The later time; ``known`` may be null. A late report must not move the end of an incident back."""
    return case((known > new, known), else_=func.coalesce(new, known))


_SETTLE_DELIVERY = (
    update(table_of(Delivery))
    .where(Delivery.id == bindparam("of_delivery"), Delivery.claim_token == bindparam("of_claim"))
    .values(
        claim_token=None,
        delivered_at=func.coalesce(bindparam("delivered", type_=UTCDateTime), Delivery.delivered_at),
    )
)
_attempts = table_of(DeliveryAttempt)
# Inserts nothing if the delivery is gone.
_ADD_ATTEMPT = _attempts.insert().from_select(
    ["id", "delivery_id", "at", "outcome", "status", "discord_code", "reason"],
    select(
        bindparam("attempt_id", type_=_attempts.c.id.type),
        Delivery.id,
        *(
            bindparam(name, type_=_attempts.c[column].type)
            for name, column in {
                "attempt_at": "at",
                "attempt_outcome": "outcome",
                "attempt_status": "status",
                "attempt_code": "discord_code",
                "attempt_reason": "reason",
            }.items()
        ),
    ).where(Delivery.id == bindparam("of_delivery")),
)
_NOTE_ON_WEBHOOK = (
    update(table_of(Webhook))
    .where(Webhook.id == bindparam("of_webhook"))
    .values(
        last_delivered_at=func.coalesce(bindparam("delivered_at", type_=UTCDateTime), Webhook.last_delivered_at),
        next_message_at=func.coalesce(bindparam("next_message", type_=UTCDateTime), Webhook.next_message_at),
        last_error=bindparam("error"),
        ignored_told=func.coalesce(bindparam("told", type_=BigInteger), Webhook.ignored_told),
        ignored_told_at=func.coalesce(bindparam("told_at", type_=UTCDateTime), Webhook.ignored_told_at),
        incident_since=_earlier(table_of(Webhook).c.incident_since, bindparam("first_at", type_=UTCDateTime)),
        incident_events=Webhook.incident_events + bindparam("events"),
        last_event_at=_later(table_of(Webhook).c.last_event_at, bindparam("last_at", type_=UTCDateTime)),
    )
)
_RELEASE_DESTINATION = (
    update(table_of(Destination))
    .where(Destination.id == bindparam("of_destination"), Destination.claim_token == bindparam("of_claim"))
    .values(claim_token=None, claimed_at=None)
)
