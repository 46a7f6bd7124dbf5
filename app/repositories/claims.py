"""Claims due deliveries under a lease, and releases claims that nobody settled.

A dispatcher claims destinations, not rows, so that each destination has one message in flight.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import CursorResult, Row, and_, bindparam, func, literal_column, or_, select, update
from sqlalchemy.orm import aliased

from app.digests import Digest, Notice, Reminder, loads
from app.discord.address import Address, stored_address
from app.extensions import db
from app.models import Delivery, Destination, PolicyCount, TrafficSource, Webhook
from app.models.columns import NO_ID, new_id
from app.policies import Notes, Threshold
from app.repositories.base import begin_writing, insert_ignoring_conflicts, plan_afresh, table_of, unsynchronized
from app.repositories.due import LONGEST_PAUSE, Candidate
from app.repositories.merging import merge
from app.repositories.outbox import CANNOT_BE_READ, IS_OPEN, PENDING, new_nonce

T = TypeVar("T")

# Digests read at a time while claiming.
READ_BATCH_SIZE = 6


@dataclass(frozen=True)
class Claim:
    """A claimed delivery, with everything needed to send it."""

    token: str
    delivery_id: str
    webhook_id: str
    destination_id: str
    address: Address
    level: str
    source_name: str
    digest: Digest | Notice
    nonce: str
    attempts: int
    after_pause: bool
    was_delivered: bool
    event_count: int
    notes: Notes


class Unreadable(NamedTuple):
    """A delivery whose stored digest or address is invalid."""

    delivery_id: str
    webhook_id: str
    attempts: int
    reason: str


@dataclass
class Claims:
    """The result of claiming: claims to send, unreadable deliveries, and webhooks to be merged first."""

    taken: list[Claim] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    unmerged: list[str] = field(default_factory=list)


def add_destinations_and_commit(candidates: Sequence[Candidate]) -> None:
    """Add the new destinations, for ``claim``: in its transaction, others would wait to add the same ones."""
    if new := sorted({candidate.destination_id for candidate in candidates if candidate.destination_is_new}):
        db.session.execute(insert_ignoring_conflicts(Destination), [{"id": id} for id in new])
        db.session.commit()


def claim(candidates: Sequence[Candidate], now: datetime, seconds: float) -> Claims:
    """Claim the candidates, at most one per destination, that are still free, and merge their webhooks' deliveries.

    Stops after about ``seconds``; webhooks with more to merge are left for ``merge_batch``. Does not commit.
    """
    plan_afresh()
    token, deadline = new_id(), monotonic() + seconds
    destinations = _claim_destinations([candidate.destination_id for candidate in candidates], now, token)
    claims = Claims()
    heads = _heads([candidate.delivery_id for candidate in candidates], destinations)
    for some in batched(heads, READ_BATCH_SIZE):
        digests = _digests([head.id for head in some])
        for head in (head for head in some if head.id in digests):
            _claim_delivery(claims, head, digests[head.id], token, destinations[head.destination_id], deadline)
        if monotonic() > deadline:
            break
    _mark_delivering(claims.taken)
    _release_destinations(destinations.keys() - {claim.destination_id for claim in claims.taken}, token)
    return claims


def _claim_destinations(destination_ids: Sequence[str], now: datetime, token: str) -> dict[str, bool]:
    """The claimed destinations, and whether each was paused before, by a limit or a failure."""
    free = (
        select(Destination.id)
        .where(
            Destination.id.in_(destination_ids),
            Destination.claim_token.is_(None),
            or_(
                Destination.paused_until.is_(None),
                Destination.paused_until <= now,
                Destination.paused_until > now + LONGEST_PAUSE,
            ),
        )
        .order_by(Destination.id)
        .with_for_update(key_share=True, skip_locked=True)  # SQLAlchemy omits it on SQLite, which has one writer.
    )
    # PostgreSQL could execute a subquery, with its locks, more than once, so use a CTE there. Python's SQLite driver
    # begins no transaction for a statement that starts with WITH, so it would autocommit.
    chosen = free.cte("free") if db.is_postgresql else free.subquery()
    taken = (
        update(Destination)
        .where(Destination.id.in_(select(chosen.c.id)))
        .values(claim_token=token, claimed_at=now)
        .returning(Destination.id, Destination.paused_until.is_not(None).label("was_paused"))
    )
    rows = db.session.execute(taken, execution_options={"synchronize_session": False})
    return {row.id: bool(row.was_paused) for row in rows}


def _heads(delivery_ids: Sequence[str], destinations: Iterable[str]) -> Sequence[Row[*tuple[Any, ...]]]:
    """The candidates re-read under the locks: those that are still for one of ``destinations``, the oldest for each.

    Since the scan, a webhook may have moved to the destination of another candidate.
    """
    other = aliased(Delivery)
    more = select(other.id).where(
        other.webhook_id == Delivery.webhook_id,
        other.state == PENDING,
        other.nonce.is_(None),
        other.id != Delivery.id,
    )
    ignored = select(func.sum(PolicyCount.ignored)).where(PolicyCount.webhook_id == Webhook.id)
    query = (
        select(
            Delivery.id,
            Delivery.webhook_id,
            Delivery.nonce,
            Delivery.attempts,
            Delivery.delivered_at.is_not(None).label("was_delivered"),
            Webhook.destination_id,
            Webhook.level,
            Webhook.value_template,
            Webhook.token,
            *(Webhook.mention_role_id, Webhook.threshold_events, Webhook.threshold_seconds),
            (Webhook.incident_events == 0).label("begins_incident"),
            *(Webhook.ignored_told, Webhook.ignored_told_at, ignored.scalar_subquery().label("ignored")),
            TrafficSource.name.label("source_name"),
            more.exists().label("is_followed"),
        )
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .join(TrafficSource, TrafficSource.id == Webhook.traffic_source_id)
        .where(
            Delivery.id.in_(delivery_ids),
            Delivery.state == PENDING,
            Webhook.state == "active",
            Webhook.destination_id.in_(list(destinations)),
            or_(
                Delivery.nonce.is_not(None),
                Webhook.threshold_events.is_(None),
                Webhook.incident_since.is_not(None),
            ),
        )
        .order_by(Delivery.id)
    )
    oldest: dict[str, Row[*tuple[Any, ...]]] = {}
    for head in db.session.execute(query):
        oldest.setdefault(head.destination_id, head)
    return list(oldest.values())


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items`` in parts of ``size``. (``itertools`` has it from Python 3.12 on.)"""
    return (items[start : start + size] for start in range(0, len(items), size))


def _digests(delivery_ids: Sequence[str]) -> dict[str, str]:
    """The digests of those that nobody else is merging, locked: otherwise events merged from now on would be lost."""
    found = select(Delivery.id, Delivery.digest).where(Delivery.id.in_(delivery_ids), Delivery.state == PENDING)
    rows = db.session.execute(found.with_for_update(key_share=True, skip_locked=True))
    return {row.id: row.digest for row in rows}


def _claim_delivery(
    claims: Claims, head: Row[*tuple[Any, ...]], stored: str, token: str, after_pause: bool, deadline: float
) -> None:
    try:
        address, digest = stored_address(head.value_template, head.token), loads(stored)
    except ValueError as error:
        claims.unreadable.append(Unreadable(head.id, head.webhook_id, head.attempts + 1, str(error)))
        return
    delivery_id = head.id
    if head.nonce is None and head.is_followed:
        merged = merge(head.webhook_id, NO_ID, deadline)
        if not merged.is_all or not merged.digest.kinds:
            claims.unmerged.append(head.webhook_id)
            return
        delivery_id, digest = merged.first_id, merged.digest
    claims.taken.append(
        Claim(
            token=token,
            delivery_id=delivery_id,
            webhook_id=head.webhook_id,
            destination_id=head.destination_id,
            address=address,
            level=head.level,
            source_name=head.source_name,
            digest=digest,
            nonce=head.nonce or new_nonce(),
            attempts=head.attempts + 1,
            after_pause=after_pause,
            was_delivered=head.was_delivered,
            event_count=digest.event_count,
            notes=_notes(head, digest),
        )
    )


def _notes(head: Row[*tuple[Any, ...]], digest: Digest | Notice) -> Notes:
    begins_incident = head.begins_incident and isinstance(digest, Digest) and not head.was_delivered
    # A redelivered message does not mention the events that were ignored meanwhile.
    ignored = int(head.ignored or 0) if isinstance(digest, Digest) and not head.was_delivered else 0
    return Notes(
        mention_role_id=head.mention_role_id if begins_incident or isinstance(digest, Reminder) else None,
        threshold=Threshold(head.threshold_events, head.threshold_seconds)
        if begins_incident and head.threshold_events
        else None,
        ignored=max(0, ignored - head.ignored_told),
        ignored_since=head.ignored_told_at,
        ignored_in_all=ignored,
    )


def _mark_delivering(claims: Sequence[Claim]) -> None:
    if not claims:
        return
    values = [
        {
            "of_delivery": claim.delivery_id,
            "state": "delivering",
            "claim_token": claim.token,
            "nonce": claim.nonce,
            "attempts": claim.attempts,
        }
        for claim in claims
    ]
    result = db.session.connection().execute(_TAKE_DELIVERY, values)
    if cast(CursorResult[Any], result).rowcount != len(claims):
        raise ClaimLost


class ClaimLost(Exception):
    """A delivery was removed during its claim: roll back the whole claim."""


def postpone(delivery_id: str, attempts: int, next_attempt_at: datetime | None) -> None:
    """Postpone an unreadable delivery to ``next_attempt_at``; without a time, discard it."""
    values: dict[str, Any] = {"attempts": attempts, "next_attempt_at": next_attempt_at}
    values["last_error"] = CANNOT_BE_READ
    if next_attempt_at is None:
        values["state"] = "discarded"
    pending = update(Delivery).where(Delivery.id == delivery_id, Delivery.state == "pending")
    unsynchronized(pending.values(nonce=new_nonce(), **values))


def _release_destinations(ids: Iterable[str], token: str) -> None:
    claimed = and_(Destination.id.in_(list(ids)), Destination.claim_token == token)
    unsynchronized(update(Destination).where(claimed).values(claim_token=None, claimed_at=None))


def release_stale(now: datetime, lease: timedelta) -> int:
    """Release claims older than ``lease``. Returns the number of deliveries that are pending again.

    A claim further in the future than ``lease`` was written by a wrong clock, and is released as well.
    """
    stale = select(Destination.claim_token).where(
        Destination.claim_token.is_not(None),
        or_(Destination.claimed_at < now - lease, Destination.claimed_at > now + lease),
    )
    begin_writing()
    tokens = db.session.scalars(stale.with_for_update(skip_locked=True)).all()
    if tokens:
        claimed = update(Destination).where(Destination.claim_token.in_(tokens))
        unsynchronized(claimed.values(claim_token=None, claimed_at=None))
    # A delivery in flight has a destination with the same claim token.
    is_claimed = select(Destination.id).where(Destination.claim_token == Delivery.claim_token).exists()
    lost = update(Delivery).where(IS_OPEN, Delivery.state == literal_column("'delivering'"), ~is_claimed)
    return unsynchronized(lost.values(state="pending", claim_token=None, next_attempt_at=now))


_TAKE_DELIVERY = update(table_of(Delivery)).where(Delivery.id == bindparam("of_delivery"), Delivery.state == PENDING)
