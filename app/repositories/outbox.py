"""The outbox: deliveries are put into it, looked for, claimed by dispatchers, and merged into one message.

A dispatcher claims destinations, not rows: so each has one message in flight, whoever sends it.

Everybody locks in one order, so that nobody deadlocks: users, traffic_sources, webhooks, destinations, deliveries,
delivery_attempts; domains, pathnames, http_traffic_records; then counters (outcome_counts, discord_limits,
refusal_counts), sorted. Rows that somebody else may hold are skipped rather than waited for.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import (
    ColumnClause,
    CursorResult,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import aliased

from app.digests import Digest, Recovery, loads
from app.discord.address import Address, stored_address
from app.extensions import db
from app.models import Delivery, Destination, TrafficSource, Webhook
from app.models.columns import NO_ID, Identifier, UTCDateTime, new_id
from app.repositories.base import begin_writing, table_of, unsynchronized
from app.repositories.discord_limits import INVALID_WINDOW, USER_BUDGET

T = TypeVar("T")

NOTIFY_CHANNEL = "deliveries"
# Written out in every statement, where SQLite sees that a partial index holds the rows.
PENDING: ColumnClause[str] = literal_column("'pending'")
IS_OPEN = text("deliveries.state IN ('pending', 'delivering')")
# Webhooks that one look goes through; and, where more wait, rows among the newest whose webhooks it looks at, too, so
# that what has just come need not wait for its turn.
MAX_LOOKED_AT = 1_000
NEWEST = 200
# The longest that each wait can be. One that ends later was written by a clock that was wrong, and is over.
LONGEST_MUTE = timedelta(days=90)
LONGEST_WINDOW = timedelta(hours=1)
LONGEST_PAUSE = timedelta(days=1)
LONGEST_RETRY = timedelta(days=1)
# How many deliveries are read at once while merging: it begins with few, as each may be large.
FIRST_BITE, LARGEST_BITE = 4, 64
# And how many digests while claiming; what a claim has no time for is left for the next.
READ_AT_ONCE = 6

# For this transaction: plan anew, for the tables as they are now, and along indexes. The driver prepares statements,
# and PostgreSQL would keep a plan from when the tables were small.
PLAN_AFRESH = """
SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off;
SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off
"""

# Whether a webhook may send now: it is active and of a source that was not deleted, not muted, and its digest window is
# over.
MAY_SEND = """
    webhooks.state = 'active' AND traffic_sources.user_id IS NOT NULL
    AND (webhooks.muted_until IS NULL OR webhooks.muted_until <= :now OR webhooks.muted_until > :longest_mute)
    AND (webhooks.next_message_at IS NULL OR webhooks.next_message_at <= :now
         OR webhooks.next_message_at > :longest_window)
"""
# Who waits: each webhook with pending deliveries behind :after, in the order of ids, and what it may send now.
#
# The recursion hops from webhook to webhook along ix_deliveries_pending, one probe each, however many rows a webhook
# has gathered. CASE looks for a delivery only where webhook and destination are free.
LOOK = f"""
WITH RECURSIVE waiting (webhook_id, place) AS (
    SELECT (
        SELECT webhook_id FROM deliveries WHERE state = 'pending' AND webhook_id > :after ORDER BY webhook_id LIMIT 1
    ), 1
    UNION ALL
    SELECT (
        SELECT deliveries.webhook_id FROM deliveries
        WHERE state = 'pending' AND deliveries.webhook_id > waiting.webhook_id
        ORDER BY deliveries.webhook_id LIMIT 1
    ), place + 1
    FROM waiting WHERE webhook_id IS NOT NULL AND place < :most
)
SELECT waiting.webhook_id, waiting.place, webhooks.destination_id, CASE WHEN
    {MAY_SEND}
    AND destinations.claim_token IS NULL
    AND (destinations.paused_until IS NULL OR destinations.paused_until <= :now
         OR destinations.paused_until > :longest_pause)
    AND NOT EXISTS (
        SELECT 1 FROM discord_limits
        WHERE kind = destinations.kind AND paused_until > :now AND paused_until <= :longest_pause
    )
    AND NOT EXISTS (
        SELECT 1 FROM refusal_counts
        WHERE refusal_counts.user_id = traffic_sources.user_id AND number >= :user_budget AND since > :window_begin
    )
THEN (
    SELECT id FROM deliveries
    WHERE deliveries.webhook_id = waiting.webhook_id AND state = 'pending'
    AND (nonce IS NULL OR next_attempt_at <= :now OR next_attempt_at > :longest_retry)
    ORDER BY id LIMIT 1
) END AS delivery_id
FROM (
    SELECT webhook_id, place FROM waiting WHERE webhook_id IS NOT NULL
    UNION ALL
    SELECT DISTINCT webhook_id, CAST(NULL AS INTEGER) FROM (
        SELECT webhook_id, state FROM deliveries ORDER BY id DESC LIMIT :newest
    ) AS newest WHERE state = 'pending'
) AS waiting
LEFT JOIN webhooks ON webhooks.id = waiting.webhook_id
LEFT JOIN traffic_sources ON traffic_sources.id = webhooks.traffic_source_id
LEFT JOIN destinations ON destinations.id = webhooks.destination_id
ORDER BY waiting.place
"""  # noqa: S608 # nosec B608
_TIMES = ("now", "longest_mute", "longest_window", "longest_pause", "longest_retry", "window_begin")
_LOOK = (
    text(LOOK)
    .bindparams(bindparam("after", type_=Identifier), *(bindparam(name, type_=UTCDateTime) for name in _TIMES))
    .columns(webhook_id=Identifier, destination_id=Destination.id.type, delivery_id=Identifier)
)


class Candidate(NamedTuple):
    """A delivery that may be sent now."""

    delivery_id: str
    webhook_id: str
    destination_id: str


@dataclass(frozen=True)
class Look:
    """What a look found, oldest first, and behind which webhook the next one goes on."""

    candidates: list[Candidate]
    ends_at: str


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
    digest: Digest | Recovery
    nonce: str
    attempts: int
    after_pause: bool
    was_delivered: bool
    event_count: int


class Unreadable(NamedTuple):
    """A delivery that cannot be sent as it is in the database, or to the address that is there."""

    delivery_id: str
    webhook_id: str
    attempts: int
    reason: str


@dataclass
class Claims:
    """What became of candidates: messages to send, deliveries that cannot be read, and webhooks to be merged first."""

    taken: list[Claim] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    unmerged: list[str] = field(default_factory=list)


def new_nonce() -> str:
    """At most the 25 characters Discord allows."""
    return secrets.token_urlsafe(16)


def put(webhook_id: str, digest: Digest | Recovery, now: datetime) -> None:
    """Owe the webhook a message. Does not commit, and wakes nobody."""
    db.session.execute(_PUT, put_values(digest, now) | {"webhook_id": webhook_id})


def put_sql(webhooks: str) -> str:
    """The only SQL that makes deliveries: for the webhooks that a condition names. Its parameters: ``put_values``.

    A digest has no nonce until it is claimed, and is due as soon as its webhook may send: more may be merged into it.
    """
    return f"""
    INSERT INTO deliveries (id, webhook_id, state, event_count, attempts, digest, nonce, next_attempt_at, created_at)
    SELECT :delivery_id, webhooks.id, 'pending', :event_count, 0, :digest, :nonce, :put_at, :put_at
    FROM webhooks WHERE {webhooks}
    """  # noqa: S608 # nosec B608


def put_values(digest: Digest | Recovery, now: datetime) -> dict[str, Any]:
    return {
        "delivery_id": new_id(),
        "event_count": digest.event_count,
        "digest": digest.dumps(),
        "nonce": None if isinstance(digest, Digest) else new_nonce(),
        "put_at": now,
    }


PUT_TYPES: dict[str, Any] = {
    "delivery_id": Identifier,
    "webhook_id": Identifier,
    "put_at": UTCDateTime(),
}
_PUT = text(put_sql("webhooks.id = :webhook_id")).bindparams(
    *(bindparam(name, type_=type) for name, type in PUT_TYPES.items())
)
# For the one statement that stores a report, after ``delivery``, which is what it put. NOTIFY serialises commits, so
# send it only when needed: not when an earlier delivery of the webhook waits, which has woken dispatchers already.
WAKE = f"""
    SELECT pg_notify('{NOTIFY_CHANNEL}', '') FROM delivery WHERE NOT EXISTS (
        SELECT FROM deliveries
        WHERE deliveries.webhook_id = delivery.webhook_id AND state = 'pending' AND nonce IS NULL
    )
"""  # noqa: S608 # nosec B608


def wake_dispatchers() -> None:
    """Make dispatchers look once this transaction commits. On SQLite they notice the commit themselves."""
    if db.is_postgresql:
        db.session.execute(text(f"NOTIFY {NOTIFY_CHANNEL}"))


def plan_afresh() -> None:
    if db.is_postgresql:
        db.session.execute(text(PLAN_AFRESH))


def times_of_may_send(now: datetime) -> dict[str, datetime]:
    return {"now": now, "longest_mute": now + LONGEST_MUTE, "longest_window": now + LONGEST_WINDOW}


def look(now: datetime, after: str = NO_ID) -> Look:
    """What may be sent now, among the next MAX_LOOKED_AT webhooks that wait. Changes and locks nothing."""
    plan_afresh()
    times = times_of_may_send(now) | {
        "longest_pause": now + LONGEST_PAUSE,
        "longest_retry": now + LONGEST_RETRY,
        "window_begin": now - INVALID_WINDOW,
    }
    parameters = {"after": after, "most": MAX_LOOKED_AT, "user_budget": USER_BUDGET}
    parameters["newest"] = NEWEST if after != NO_ID else 0
    rows = db.session.execute(_LOOK, parameters | times).all()
    found = {Candidate(row.delivery_id, row.webhook_id, row.destination_id) for row in rows if row.delivery_id}
    last = next((row.webhook_id for row in rows if row.place == MAX_LOOKED_AT), NO_ID)
    return Look(sorted(found), last)


def claim(candidates: Sequence[Candidate], now: datetime, seconds: float) -> Claims:
    """Take those candidates, each of another destination, that are still free; merge into each what its webhook
    gathered.

    Merging ends after about ``seconds``: webhooks with more to merge are left for ``merge_bite``. Does not commit.
    """
    plan_afresh()
    token, deadline = new_id(), monotonic() + seconds
    destinations = _claim_destinations([candidate.destination_id for candidate in candidates], now, token)
    claims = Claims()
    heads = _heads([candidate.delivery_id for candidate in candidates], destinations)
    for some in batched(heads, READ_AT_ONCE):
        digests = _digests([head.id for head in some])
        for head in some:
            _claim_delivery(claims, head, digests.get(head.id, ""), token, destinations[head.destination_id], deadline)
        if monotonic() > deadline:
            break
    _mark_delivering(claims.taken)
    _release_destinations(destinations.keys() - {claim.destination_id for claim in claims.taken}, token)
    return claims


def merge_bite(webhook_id: str, after: str, seconds: float) -> str | None:
    """Merge pending deliveries of the webhook behind ``after`` into one, for about ``seconds``. Does not commit.

    Returns behind which to go on; None where all of them are one delivery now.
    """
    plan_afresh()
    merged = _merge(webhook_id, after, monotonic() + seconds)
    if merged.is_all:
        return None if after == NO_ID else NO_ID
    return merged.last_id


def _claim_destinations(destination_ids: Sequence[str], now: datetime, token: str) -> dict[str, bool]:
    """The destinations taken, and whether each had been left alone: for a limit, or after a failure."""
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
        .with_for_update(key_share=True, skip_locked=True)  # SQLite, which has one writer, leaves this out.
    )
    # PostgreSQL could execute a subquery, and lock anew, more than once. Python's driver of SQLite opens no transaction
    # for a statement that begins with WITH: what it changes would be there at once, and for good.
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
    """The candidates as they are under the locks, where they are still to be sent to one of ``destinations``."""
    other = aliased(Delivery)
    more = select(other.id).where(
        other.webhook_id == Delivery.webhook_id,
        other.state == PENDING,
        other.nonce.is_(None),
        other.id != Delivery.id,
    )
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
        )
        .order_by(Delivery.id)
    )
    return db.session.execute(query).all()


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items`` in parts of ``size``. (``itertools`` has it from Python 3.12 on.)"""
    return (items[start : start + size] for start in range(0, len(items), size))


def _digests(delivery_ids: Sequence[str]) -> dict[str, str]:
    found = select(Delivery.id, Delivery.digest).where(Delivery.id.in_(delivery_ids))
    return {row.id: row.digest for row in db.session.execute(found)}


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
        merged = _merge(head.webhook_id, NO_ID, deadline)
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
        )
    )


@dataclass
class _Merged:
    """Deliveries of ``digest``: the first of them, the others, and behind which there may be more."""

    first_id: str = NO_ID
    digest: Digest = field(default_factory=Digest)
    others: list[str] = field(default_factory=list)
    last_id: str = NO_ID
    is_all: bool = False


def _merge(webhook_id: str, after: str, deadline: float) -> _Merged:
    """Merge what the webhook gathered behind ``after`` into the first of it, until ``deadline``."""
    merged = _Merged(last_id=after)
    size = FIRST_BITE
    while not merged.is_all:
        rows = db.session.execute(_gathered(webhook_id, merged.last_id, size)).all()
        for row in rows:
            merged.last_id = row.id
            _add(merged, row)
        merged.is_all = len(rows) < size
        if monotonic() > deadline:
            break
        size = min(LARGEST_BITE, size * 2)
    if merged.others:
        unsynchronized(delete(Delivery).where(Delivery.id.in_(merged.others)))
        values = {"digest": merged.digest.dumps(), "event_count": merged.digest.event_count}
        unsynchronized(update(Delivery).where(Delivery.id == merged.first_id).values(values))
    return merged


def _gathered(webhook_id: str, after: str, limit: int) -> Select[str, str]:
    gathered = select(Delivery.id, Delivery.digest).where(
        Delivery.webhook_id == webhook_id, Delivery.state == PENDING, Delivery.nonce.is_(None), Delivery.id > after
    )
    return gathered.order_by(Delivery.id).limit(limit).with_for_update(key_share=True, skip_locked=True)


def _add(merged: _Merged, row: Row[*tuple[Any, ...]]) -> None:
    """What cannot be read is not merged: it gets a nonce, and so is a message of its own from now on."""
    try:
        digest = loads(row.digest)
    except ValueError:
        digest = None
    if not isinstance(digest, Digest):
        unsynchronized(update(Delivery).where(Delivery.id == row.id).values(nonce=new_nonce()))
    elif merged.first_id == NO_ID:
        merged.first_id, merged.digest = row.id, digest
    else:
        merged.digest.add(digest)
        merged.others.append(row.id)


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
    """A delivery was taken away while it was claimed: nothing of the claim may stand."""


def put_off(delivery_id: str, attempts: int, next_attempt_at: datetime | None, reason: str) -> None:
    """Try a delivery that cannot be read again later; or, without a time, discard it with the reason."""
    values: dict[str, Any] = {"attempts": attempts, "next_attempt_at": next_attempt_at, "last_error": reason}
    if next_attempt_at is None:
        values["state"] = "discarded"
    pending = update(Delivery).where(Delivery.id == delivery_id, Delivery.state == "pending")
    unsynchronized(pending.values(nonce=new_nonce(), **values))


def _release_destinations(ids: Iterable[str], token: str) -> None:
    held = and_(Destination.id.in_(list(ids)), Destination.claim_token == token)
    unsynchronized(update(Destination).where(held).values(claim_token=None, claimed_at=None))


def release_stale(now: datetime, lease: timedelta) -> int:
    """Free what a dispatcher claimed longer than ``lease`` ago and never settled. Returns how many messages.

    A claim from further ahead than a lease was made by a clock that was wrong: it is stale, too.
    """
    stale = select(Destination.claim_token).where(
        Destination.claim_token.is_not(None),
        or_(Destination.claimed_at < now - lease, Destination.claimed_at > now + lease),
    )
    begin_writing()
    tokens = db.session.scalars(stale.with_for_update(skip_locked=True)).all()
    if tokens:
        held = update(Destination).where(Destination.claim_token.in_(tokens))
        unsynchronized(held.values(claim_token=None, claimed_at=None))
    # Whatever is under way has a destination that is held for it.
    is_held = select(Destination.id).where(Destination.claim_token == Delivery.claim_token).exists()
    lost = update(Delivery).where(IS_OPEN, Delivery.state == literal_column("'delivering'"), ~is_held)
    return unsynchronized(lost.values(state="pending", claim_token=None, next_attempt_at=now))


_TAKE_DELIVERY = update(table_of(Delivery)).where(Delivery.id == bindparam("of_delivery"), Delivery.state == PENDING)
