"""The outbox: puts deliveries, scans for due ones, claims them under a lease, and merges them into one message.

A dispatcher claims destinations, not rows, so that each destination has one message in flight.

Lock order of all transactions, against deadlocks: users, traffic_sources, alerts, webhooks, destinations, deliveries,
delivery_attempts; domains, pathnames, http_traffic_records; then counters (seen_kinds, policy_counts, outcome_counts,
discord_limits, refusal_counts), sorted. Dispatchers skip locked rows (SKIP LOCKED) instead of waiting.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import (
    Boolean,
    ColumnClause,
    CursorResult,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import aliased

from app.digests import Digest, Notice, Reminder, loads
from app.discord.address import Address, stored_address
from app.extensions import db
from app.models import Delivery, Destination, PolicyCount, TrafficSource, Webhook
from app.models.columns import NO_ID, Identifier, UTCDateTime, new_id
from app.policies import GRACE, MAX_THRESHOLD_EVENTS, Notes, Threshold
from app.repositories.base import begin_writing, insert_ignoring_conflicts, table_of, unsynchronized
from app.repositories.discord_limits import ANSWERS_FOR, INVALID_WINDOW, USER_BUDGET

T = TypeVar("T")

NOTIFY_CHANNEL = "deliveries"
# Literals rather than parameters, so that SQLite can use the partial indexes.
PENDING: ColumnClause[str] = literal_column("'pending'")
IS_OPEN = text("deliveries.state IN ('pending', 'delivering')")
# Gathered deliveries have no nonce yet: later ones can be merged into them.
GATHERED = "deliveries.state = 'pending' AND deliveries.nonce IS NULL"
IS_GATHERED = text(GATHERED)
# Of the open deliveries, the notices and the tried ones, as the predicate of ix_deliveries_with_nonce.
WITH_NONCE = "deliveries.state IN ('pending', 'delivering') AND deliveries.nonce IS NOT NULL"
HAS_NONCE = text(WITH_NONCE)
# Webhooks that one scan covers. If more wait, it also covers the webhooks of the newest rows, so that new deliveries
# need not wait for a later scan.
MAX_SCANNED_WEBHOOKS = 1_000
MAX_NEWEST_ROWS = 200
# The maximum of each wait. A wait that ends later was written by a wrong clock and counts as over.
LONGEST_MUTE = timedelta(days=90)
LONGEST_WINDOW = timedelta(hours=1)
LONGEST_PAUSE = timedelta(days=1)
LONGEST_RETRY = timedelta(days=1)
# Deliveries read at a time while merging; few at first, since each digest may be large.
FIRST_BATCH_SIZE, LARGEST_BATCH_SIZE = 4, 64
# Notices that wait for one webhook: see put_for_level.
MAX_WAITING_NOTICES = 100
# Digests read at a time while claiming.
READ_BATCH_SIZE = 6

# For this transaction, use custom plans along indexes: the driver prepares statements, and PostgreSQL might keep a
# generic plan from when the tables were small.
PLAN_AFRESH = """
SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off;
SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off
"""

# True if a webhook may send now: active, source not deleted, not muted, digest window over.
MAY_SEND = """
    webhooks.state = 'active' AND traffic_sources.user_id IS NOT NULL
    AND (webhooks.muted_until IS NULL OR webhooks.muted_until <= :now OR webhooks.muted_until > :longest_mute)
    AND (webhooks.next_message_at IS NULL OR webhooks.next_message_at <= :now
         OR webhooks.next_message_at > :longest_window)
"""
# True unless the events of a webhook gather until they reach its policy's threshold: see repositories/policies.py.
IS_NOT_HELD = "(webhooks.threshold_events IS NULL OR webhooks.incident_since IS NOT NULL)"
# The last error of a delivery, or of its webhook's address, that cannot be read.
CANNOT_BE_READ = "What is stored of this message, or of its webhook's address, cannot be read."
# True unless the delivery is a notice and an earlier one of its webhook is open, since they must arrive in order. One
# that cannot be read keeps no other waiting.
IS_IN_ORDER = """
    (deliveries.event_count <> 0 OR NOT EXISTS (
        SELECT 1 FROM deliveries AS earlier
        WHERE earlier.webhook_id = deliveries.webhook_id AND earlier.id < deliveries.id
        AND earlier.state IN ('pending', 'delivering') AND earlier.nonce IS NOT NULL AND earlier.event_count = 0
        AND coalesce(earlier.last_error, '') <> :cannot_be_read
    ))
"""
# Python cannot read every time that a database can hold: no delivery is older, nor from the future.
LONG_AGO = timedelta(days=3650)
# The gathered deliveries of a webhook, oldest first.
HELD = f"""
    SELECT CASE WHEN created_at BETWEEN :long_ago AND :now THEN created_at END AS created_at, event_count
    FROM deliveries WHERE deliveries.webhook_id = waiting.webhook_id AND {GATHERED} ORDER BY id
"""  # noqa: S608 # nosec B608
# Of a webhook, the first delivery that may be sent: of those that gather, and of those with a nonce, which an index of
# their own finds however many gather.
FIRST_GATHERED = f"""
    SELECT id FROM deliveries
    WHERE deliveries.webhook_id = waiting.webhook_id AND {GATHERED} AND {IS_NOT_HELD} ORDER BY id LIMIT 1
"""  # noqa: S608 # nosec B608
FIRST_WITH_NONCE = f"""
    SELECT id FROM deliveries
    WHERE deliveries.webhook_id = waiting.webhook_id AND {WITH_NONCE} AND state = 'pending'
    AND (next_attempt_at <= :now OR next_attempt_at > :longest_retry) AND {IS_IN_ORDER} ORDER BY id LIMIT 1
"""  # noqa: S608 # nosec B608
# Lists webhooks with pending deliveries, in keyset order after :after, each with the delivery that it may send now.
#
# A loose index scan: the recursion takes one probe of ix_deliveries_pending per webhook, for any number of rows. CASE
# looks up a delivery only if webhook and destination are free.
SCAN = f"""
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
SELECT waiting.webhook_id, waiting.place, webhooks.destination_id, destinations.id IS NULL AS destination_is_new,
CASE WHEN
    {MAY_SEND}
    AND destinations.claim_token IS NULL
    AND (destinations.paused_until IS NULL OR destinations.paused_until <= :now
         OR destinations.paused_until > :longest_pause)
    AND NOT EXISTS (
        SELECT 1 FROM discord_limits
        WHERE kind = substr(webhooks.destination_id, 1, 8) AND paused_until > :now AND paused_until <= :longest_pause
    )
    AND NOT EXISTS (
        SELECT 1 FROM refusal_counts
        WHERE refusal_counts.user_id = {ANSWERS_FOR}
        AND number >= :user_budget AND since > :window_begin
    )
THEN (
    SELECT id FROM (
        SELECT id FROM ({FIRST_GATHERED}) AS gathered
        UNION ALL
        SELECT id FROM ({FIRST_WITH_NONCE}) AS with_nonce
    ) AS first ORDER BY id LIMIT 1
) END AS delivery_id,
CASE WHEN NOT {IS_NOT_HELD} THEN (SELECT created_at FROM ({HELD} LIMIT 1) AS held) END AS held_since,
CASE WHEN NOT {IS_NOT_HELD} THEN (
    SELECT sum(event_count) FROM ({HELD} LIMIT :most_held) AS held
) >= webhooks.threshold_events END AS is_reached,
coalesce(webhooks.threshold_seconds, 0) AS threshold_seconds
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
_TIMES = ("now", "long_ago", "longest_mute", "longest_window", "longest_pause", "longest_retry", "window_begin")
_SCAN = (
    text(SCAN)
    .bindparams(bindparam("after", type_=Identifier), *(bindparam(name, type_=UTCDateTime) for name in _TIMES))
    .columns(
        webhook_id=Identifier,
        destination_id=Destination.id.type,
        destination_is_new=Boolean,
        delivery_id=Identifier,
        held_since=UTCDateTime,
        is_reached=Boolean,
    )
)


class Candidate(NamedTuple):
    """A delivery that may be sent now. ``destination_is_new`` if no message went there yet."""

    delivery_id: str
    webhook_id: str
    destination_id: str
    destination_is_new: bool


@dataclass(frozen=True)
class Scan:
    """A scan's candidates, oldest first, and the webhook after which the next scan continues.

    ``held`` are webhooks to judge, since their gathered events may reach the threshold, or are too old to do so.
    """

    candidates: list[Candidate]
    ends_at: str
    held: list[str]


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


def new_nonce() -> str:
    """A random nonce of 22 characters; Discord allows 25."""
    return secrets.token_urlsafe(16)


def put(webhook_id: str, digest: Digest | Notice, now: datetime) -> None:
    """Put a delivery for the webhook into the outbox. Does not commit or wake dispatchers."""
    db.session.execute(_PUT, put_values(digest, now) | {"webhook_id": webhook_id})


def put_for_level(source_id: str, level: str, notice: Notice, now: datetime) -> None:
    """Put a notice for the source's webhook of that level, if there is one. Does not commit or wake dispatchers.

    Of a webhook whose last MAX_WAITING_NOTICES deliveries are all notices that wait, nothing more is put: those of a
    muted or suspended webhook are never merged.
    """
    of_level = {"source_id": source_id, "level": level, "most_waiting": MAX_WAITING_NOTICES}
    db.session.execute(_PUT_FOR_LEVEL, put_values(notice, now) | of_level)


def put_sql(webhooks: str) -> str:
    """The only INSERT of deliveries: one for each webhook that meets the condition, with ``put_values``."""
    return f"""
    INSERT INTO deliveries (id, webhook_id, state, event_count, attempts, digest, nonce, next_attempt_at, created_at)
    SELECT :delivery_id, webhooks.id, 'pending', :event_count, 0, :digest, :nonce, :put_at, :put_at
    FROM webhooks WHERE {webhooks}
    """  # noqa: S608 # nosec B608


def put_values(digest: Digest | Notice, now: datetime) -> dict[str, Any]:
    """Parameters of ``put_sql``. A digest gets no nonce before it is claimed, so that others can be merged into it."""
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
_PUT_FOR_LEVEL = text(
    put_sql("""
    webhooks.traffic_source_id = :source_id AND webhooks.level = :level AND (
        SELECT count(*) FROM (
            SELECT event_count FROM deliveries
            WHERE deliveries.webhook_id = webhooks.id AND state = 'pending' ORDER BY id DESC LIMIT :most_waiting
        ) AS newest WHERE event_count = 0
    ) < :most_waiting
    """)
).bindparams(
    bindparam("source_id", type_=Identifier),
    *(bindparam(name, type_=PUT_TYPES[name]) for name in ("delivery_id", "put_at")),
)
# For the statement that stores a report, whose CTE ``delivery`` is the row that it put. NOTIFY serialises commits, so
# send it only when needed: not when an earlier delivery of the webhook waits, which has woken dispatchers already.
WAKE = f"""
    SELECT pg_notify('{NOTIFY_CHANNEL}', '') FROM delivery WHERE NOT EXISTS (
        SELECT FROM deliveries
        WHERE deliveries.webhook_id = delivery.webhook_id AND {GATHERED}
    )
"""  # noqa: S608 # nosec B608


def wake_dispatchers() -> None:
    """NOTIFY dispatchers when this transaction commits. On SQLite they notice the commit themselves."""
    if db.is_postgresql:
        db.session.execute(text(f"NOTIFY {NOTIFY_CHANNEL}"))


def plan_afresh() -> None:
    if db.is_postgresql:
        db.session.execute(text(PLAN_AFRESH))


def times_of_may_send(now: datetime) -> dict[str, datetime]:
    """Parameters of MAY_SEND."""
    return {"now": now, "longest_mute": now + LONGEST_MUTE, "longest_window": now + LONGEST_WINDOW}


def scan(now: datetime, after: str = NO_ID) -> Scan:
    """Deliveries that may be sent now, of the next MAX_SCANNED_WEBHOOKS webhooks after ``after``. Takes no locks."""
    plan_afresh()
    times = times_of_may_send(now) | {
        "longest_pause": now + LONGEST_PAUSE,
        "longest_retry": now + LONGEST_RETRY,
        "window_begin": now - INVALID_WINDOW,
        "long_ago": now - LONG_AGO,
    }
    parameters: dict[str, Any] = {"after": after, "most": MAX_SCANNED_WEBHOOKS, "user_budget": USER_BUDGET}
    parameters |= {"most_held": MAX_THRESHOLD_EVENTS, "cannot_be_read": CANNOT_BE_READ}
    parameters["newest"] = MAX_NEWEST_ROWS if after != NO_ID else 0
    rows = db.session.execute(_SCAN, parameters | times).all()
    found = {
        Candidate(row.delivery_id, row.webhook_id, row.destination_id, row.destination_is_new)
        for row in rows
        if row.delivery_id
    }
    last = next((row.webhook_id for row in rows if row.place == MAX_SCANNED_WEBHOOKS), NO_ID)
    held = [row for row in rows if row.is_reached or is_too_old(row, now)]
    return Scan(sorted(found), last, [row.webhook_id for row in held])


def is_too_old(row: Row[*tuple[Any, ...]], now: datetime) -> bool:
    return bool(row.held_since and row.held_since < now - timedelta(seconds=row.threshold_seconds) - GRACE)


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


def merge_batch(webhook_id: str, after: str, seconds: float) -> str | None:
    """Merge the webhook's pending deliveries after ``after`` into one, for about ``seconds``. Does not commit.

    Returns the id after which to continue; None once all of them are one delivery.
    """
    plan_afresh()
    merged = _merge(webhook_id, after, monotonic() + seconds)
    if merged.is_all:
        return None if after == NO_ID else NO_ID
    return merged.last_id


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
    """The candidates re-read under the locks, without those that are no longer for one of ``destinations``."""
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
    return db.session.execute(query).all()


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


@dataclass
class _Merged:
    """A merged digest: the delivery that keeps it, the others, and the id after which there may be more."""

    first_id: str = NO_ID
    digest: Digest = field(default_factory=Digest)
    others: list[str] = field(default_factory=list)
    last_id: str = NO_ID
    is_all: bool = False


def _merge(webhook_id: str, after: str, deadline: float) -> _Merged:
    """Merge the webhook's deliveries after ``after`` into the first of them, until ``deadline`` (monotonic seconds)."""
    merged = _Merged(last_id=after)
    size = FIRST_BATCH_SIZE
    while not merged.is_all:
        rows = db.session.execute(_gathered(webhook_id, merged.last_id, size)).all()
        for row in rows:
            merged.last_id = row.id
            _add(merged, row)
        merged.is_all = len(rows) < size
        if monotonic() > deadline:
            break
        size = min(LARGEST_BATCH_SIZE, size * 2)
    if merged.others:
        unsynchronized(delete(Delivery).where(Delivery.id.in_(merged.others)))
        values = {"digest": merged.digest.dumps(), "event_count": merged.digest.event_count}
        unsynchronized(update(Delivery).where(Delivery.id == merged.first_id).values(values))
    return merged


def _gathered(webhook_id: str, after: str, limit: int) -> Select[str, str]:
    gathered = select(Delivery.id, Delivery.digest).where(
        Delivery.webhook_id == webhook_id, IS_GATHERED, Delivery.id > after
    )
    return gathered.order_by(Delivery.id).limit(limit).with_for_update(key_share=True, skip_locked=True)


def _add(merged: _Merged, row: Row[*tuple[Any, ...]]) -> None:
    """Add a row's digest. An unreadable row gets a nonce instead, which excludes it from merging."""
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
    held = and_(Destination.id.in_(list(ids)), Destination.claim_token == token)
    unsynchronized(update(Destination).where(held).values(claim_token=None, claimed_at=None))


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
        held = update(Destination).where(Destination.claim_token.in_(tokens))
        unsynchronized(held.values(claim_token=None, claimed_at=None))
    # A delivery in flight has a destination with the same claim token.
    is_held = select(Destination.id).where(Destination.claim_token == Delivery.claim_token).exists()
    lost = update(Delivery).where(IS_OPEN, Delivery.state == literal_column("'delivering'"), ~is_held)
    return unsynchronized(lost.values(state="pending", claim_token=None, next_attempt_at=now))


_TAKE_DELIVERY = update(table_of(Delivery)).where(Delivery.id == bindparam("of_delivery"), Delivery.state == PENDING)
