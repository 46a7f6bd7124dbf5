"""Scans the outbox for the deliveries that may be sent now. Takes no locks."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Row, bindparam, text

from app.extensions import db
from app.models import Destination
from app.models.columns import NO_ID, Identifier, UTCDateTime
from app.policies import GRACE, MAX_THRESHOLD_EVENTS
from app.repositories.base import plan_afresh
from app.repositories.discord_limits import ANSWERS_FOR, INVALID_WINDOW, USER_BUDGET
from app.repositories.outbox import CANNOT_BE_READ, GATHERED, WITH_NONCE

# Webhooks that one scan covers. If more wait, it also covers the webhooks of the newest rows, so that new deliveries
# need not wait for a later scan.
MAX_SCANNED_WEBHOOKS = 1_000
MAX_NEWEST_ROWS = 200
# The maximum of each wait. A wait that ends later was written by a wrong clock and counts as over.
LONGEST_MUTE = timedelta(days=90)
LONGEST_WINDOW = timedelta(hours=1)
LONGEST_PAUSE = timedelta(days=1)
LONGEST_RETRY = timedelta(days=1)
# True if a webhook may send now: active, source not deleted, not muted, digest window over.
MAY_SEND = """
    webhooks.state = 'active' AND traffic_sources.user_id IS NOT NULL
    AND (webhooks.muted_until IS NULL OR webhooks.muted_until <= :now OR webhooks.muted_until > :longest_mute)
    AND (webhooks.next_message_at IS NULL OR webhooks.next_message_at <= :now
         OR webhooks.next_message_at > :longest_window)
"""
# True unless the events of a webhook gather until they reach its policy's threshold: see repositories/policies.py.
IS_NOT_HELD = "(webhooks.threshold_events IS NULL OR webhooks.incident_since IS NOT NULL)"
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
