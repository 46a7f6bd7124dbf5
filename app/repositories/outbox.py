"""The outbox, as dispatchers work on it.

A dispatcher claims destinations, not rows: so each has one message in flight, whoever sends it.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, func, or_, select, text, update

from app.discord.address import Address, stored_address
from app.discord.digest import Digest, Recovery, loads, merge, to_datetime
from app.extensions import db
from app.models import (
    Delivery,
    Destination,
    DiscordLimit,
    TrafficSource,
    Webhook,
)
from app.models.columns import UTCDateTime, new_id
from app.repositories.base import table_of, unsynchronized

CHANNEL = "deliveries"
MERGE_AT_ONCE = 5_000
# So many deliveries are looked at for each destination to be claimed.
LOOK_AHEAD = 4
# For this transaction: along indexes, in the order that is written here. A planner whose statistics are older than the
# backlog, or who has none yet, takes a queue for a table of a few rows.
JOIN_AS_WRITTEN = """
SET LOCAL join_collapse_limit = 1; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_sort = off
"""


@dataclass(frozen=True)
class Claim:
    """A message this dispatcher holds, and all it needs to send it."""

    token: str
    delivery_id: str
    webhook_id: str
    destination_id: str
    address: Address
    level: str
    source_name: str
    facts: Digest | Recovery
    nonce: str
    attempts: int
    is_first: bool
    after_pause: bool


def new_nonce() -> str:
    """At most the 25 characters Discord allows."""
    return secrets.token_urlsafe(16)


def notify() -> None:
    """Wake the dispatchers once this transaction commits. On SQLite they notice the commit themselves."""
    if db.is_postgresql:
        db.session.execute(text(f"NOTIFY {CHANNEL}"))


def claim(now: datetime, limit: int, window: timedelta) -> list[Claim]:
    """Take up to ``limit`` free destinations that have something due, and the message each sends next.

    That message is the oldest that is due, with everything merged into it that its webhook gathered since.
    Further events of the webhook gather until ``window`` has passed.
    """
    token = new_id()
    if db.is_postgresql:
        db.session.execute(text(JOIN_AS_WRITTEN))
    destinations = _claim_destinations(now, limit, token)
    if not destinations:
        return []
    heads = _next_deliveries(list(destinations), now)
    claims = [_claim_delivery(head, token, destinations[head.destination_id]) for head in heads]
    _mark_delivering(claims, now + window)
    if idle := destinations.keys() - {claim.destination_id for claim in claims}:
        _release_destinations(idle, token)
    return claims


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(Delivery.state == "pending", Delivery.next_attempt_at <= now)


def _may_send(now: datetime) -> ColumnElement[bool]:
    return and_(
        Webhook.state == "active",
        or_(Webhook.next_message_at.is_(None), Webhook.next_message_at <= now),
        or_(Webhook.muted_until.is_(None), Webhook.muted_until <= now),
    )


def _claim_destinations(now: datetime, limit: int, token: str) -> dict[str, bool]:
    """The destinations taken, and whether each had been left alone: for a limit, or after a failure."""
    is_free = (
        Destination.claim_token.is_(None),
        or_(Destination.paused_until.is_(None), Destination.paused_until <= now),
        Destination.kind.not_in(select(DiscordLimit.kind).where(DiscordLimit.paused_until > now)),
    )
    # Down the index of what is due. Several of the first may share a destination, and what is over waits.
    first = (
        select(Destination.id)
        .select_from(Delivery)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .join(Destination, Destination.id == Webhook.destination_id)
        .where(_is_due(now), _may_send(now), *is_free)
        .order_by(Delivery.next_attempt_at)
        .limit(limit * LOOK_AHEAD)
        .subquery()
    )
    free = (
        select(Destination.id)
        .where(Destination.id.in_(select(first.c.id)), *is_free)
        .limit(limit)
        .with_for_update(skip_locked=True)  # SQLite, which has one writer, leaves this out.
    )
    # PostgreSQL could execute a subquery, and lock anew, more than once. Python's driver of SQLite opens no transaction
    # for a statement that begins with WITH: what it changes would be there at once, and for good.
    chosen = free.cte("free") if db.is_postgresql else free.subquery()
    taken = (
        update(Destination)
        .where(Destination.id.in_(select(chosen.c.id)))
        .values(claim_token=token, claimed_at=now)
        .returning(Destination.id, Destination.paused_until)
    )
    rows = db.session.execute(taken, execution_options={"synchronize_session": False})
    return {row.id: row.paused_until is not None for row in rows}


def _next_deliveries(destination_ids: Sequence[str], now: datetime) -> Sequence[Row[*tuple[Any, ...]]]:
    """The oldest due delivery of each destination, and whether more of its webhook are due together with it."""
    due = select(Delivery.id).where(Delivery.webhook_id == Webhook.id, _is_due(now))
    oldest = due.order_by(Delivery.id).limit(1).correlate(Webhook).scalar_subquery()
    of_webhooks = (
        select(Webhook.id, Webhook.destination_id, oldest.label("delivery_id"))
        .where(Webhook.destination_id.in_(destination_ids), _may_send(now))
        .subquery()
    )
    place = func.row_number().over(partition_by=of_webhooks.c.destination_id, order_by=of_webhooks.c.delivery_id)
    heads = select(of_webhooks, place.label("place")).where(of_webhooks.c.delivery_id.is_not(None)).subquery()
    query = (
        select(
            Delivery.id,
            Delivery.webhook_id,
            Delivery.digest,
            Delivery.nonce,
            Delivery.attempts,
            Webhook.destination_id,
            Webhook.level,
            Webhook.value_template,
            Webhook.token,
            TrafficSource.name.label("source_name"),
            due.where(Delivery.id > heads.c.delivery_id).correlate(Webhook, heads).exists().label("is_followed"),
        )
        .select_from(heads)
        .join(Delivery, Delivery.id == heads.c.delivery_id)
        .join(Webhook, Webhook.id == heads.c.id)
        .join(TrafficSource, TrafficSource.id == Webhook.traffic_source_id)
        .where(heads.c.place == 1)
    )
    return db.session.execute(query).all()


def _claim_delivery(head: Row[*tuple[Any, ...]], token: str, after_pause: bool) -> Claim:
    facts = loads(head.digest)
    if isinstance(facts, Digest) and head.nonce is None and head.is_followed:
        facts = merge(chain([facts], _take_gathered(head)))
    return Claim(
        token=token,
        delivery_id=head.id,
        webhook_id=head.webhook_id,
        destination_id=head.destination_id,
        address=stored_address(head.value_template, head.token),
        level=head.level,
        source_name=head.source_name,
        facts=facts,
        nonce=head.nonce or new_nonce(),
        attempts=head.attempts + 1,
        is_first=head.nonce is None,
        after_pause=after_pause,
    )


def _take_gathered(head: Row[*tuple[Any, ...]]) -> Iterator[Digest]:
    """Take everything else that its webhook gathered out of the outbox, in bites."""
    gathered = (
        select(Delivery.id)
        .where(
            Delivery.webhook_id == head.webhook_id,
            Delivery.state == "pending",
            Delivery.nonce.is_(None),
            Delivery.id != head.id,
        )
        .order_by(Delivery.id)
        .limit(MERGE_AT_ONCE)
    )
    while True:
        bite = delete(Delivery).where(Delivery.id.in_(gathered)).returning(Delivery.digest)
        texts = db.session.scalars(bite, execution_options={"synchronize_session": False}).all()
        if not texts:
            return
        yield from (found for found in map(loads, texts) if isinstance(found, Digest))


def _mark_delivering(claims: Sequence[Claim], next_message_at: datetime) -> None:
    if not claims:
        return
    connection = db.session.connection()
    connection.execute(_TAKE_DELIVERY, [_taken(claim) for claim in claims])
    connection.execute(_NOTE_ON_WEBHOOK, [_news(claim) | {"next_message_at": next_message_at} for claim in claims])


def _taken(claim: Claim) -> dict[str, Any]:
    return {
        "of_delivery": claim.delivery_id,
        "state": "delivering",
        "claim_token": claim.token,
        "nonce": claim.nonce,
        "attempts": claim.attempts,
        "digest": claim.facts.dumps(),
        "event_count": claim.facts.event_count,
    }


def _news(claim: Claim) -> dict[str, Any]:
    """What a claim adds to its webhook's incident: nothing, where its events were claimed before."""
    if isinstance(claim.facts, Recovery) or not claim.is_first:
        return {"of_webhook": claim.webhook_id, "first_at": None, "last_at": None, "events": 0}
    groups = claim.facts.groups
    return {
        "of_webhook": claim.webhook_id,
        "first_at": to_datetime(min(group.first_at for group in groups)),
        "last_at": to_datetime(max(group.last_at for group in groups)),
        "events": claim.facts.event_count,
    }


def _release_destinations(ids: Iterable[str], token: str) -> None:
    held = and_(Destination.id.in_(ids), Destination.claim_token == token)
    unsynchronized(update(Destination).where(held).values(claim_token=None, claimed_at=None))


def release_stale(now: datetime, lease: timedelta) -> int:
    """Free what a dispatcher claimed longer than ``lease`` ago and never settled. Returns how many messages."""
    stale = select(Destination.claim_token).where(Destination.claimed_at < now - lease)
    tokens = db.session.scalars(stale.with_for_update(skip_locked=True)).all()
    if not tokens:
        return 0
    lost = update(Delivery).where(Delivery.state == "delivering", Delivery.claim_token.in_(tokens))
    released = unsynchronized(lost.values(state="pending", claim_token=None, next_attempt_at=now))
    unsynchronized(
        update(Destination).where(Destination.claim_token.in_(tokens)).values(claim_token=None, claimed_at=None)
    )
    return released


_TAKE_DELIVERY = update(table_of(Delivery)).where(Delivery.id == bindparam("of_delivery"))
_NOTE_ON_WEBHOOK = (
    update(table_of(Webhook))
    .where(Webhook.id == bindparam("of_webhook"))
    .values(
        incident_since=func.coalesce(Webhook.incident_since, bindparam("first_at", type_=UTCDateTime)),
        incident_events=Webhook.incident_events + bindparam("events"),
        last_event_at=func.coalesce(bindparam("last_at", type_=UTCDateTime), Webhook.last_event_at),
    )
)
