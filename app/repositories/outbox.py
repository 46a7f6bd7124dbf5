"""The outbox: puts deliveries and wakes dispatchers. ``due`` scans, ``claims`` claims, ``merging`` merges.

Lock order of all transactions, against deadlocks: users, traffic_sources, alerts, webhooks, destinations, deliveries,
delivery_attempts; domains, pathnames, http_traffic_records; then counters (seen_kinds, policy_counts, outcome_counts,
discord_limits, refusal_counts), sorted. Dispatchers skip locked rows (SKIP LOCKED) instead of waiting.
"""

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnClause, bindparam, literal_column, text

from app.digests import Digest, Notice
from app.extensions import db
from app.models.columns import Identifier, UTCDateTime, new_id

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
# Notices that wait for one webhook: see put_for_level.
MAX_WAITING_NOTICES = 100
# The last error of a delivery, or of its webhook's address, that cannot be read.
CANNOT_BE_READ = "What is stored of this message, or of its webhook's address, cannot be read."


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
