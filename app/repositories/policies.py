"""Policies of webhooks: reads and changes them, counts what they leave out, and judges events that gather."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from time import monotonic_ns
from typing import Any

from sqlalchemy import Row, bindparam, case, delete, func, select, text, update

from app.extensions import db
from app.models import Delivery, Pathname, PolicyCount, TrafficRecord, Webhook
from app.models.columns import Identifier, first_id_at, utcnow
from app.policies import Held, Threshold, compile_rule, judge
from app.preview import Seen
from app.repositories import webhooks
from app.repositories.base import begin_writing, list_room, unsynchronized
from app.repositories.due import LONG_AGO
from app.repositories.outbox import IS_GATHERED

# Rows of a webhook's counts, of which each report takes one, so that concurrent reports seldom wait for each other.
SLOTS = 16
# Rows that are read of each webhook at a time; a threshold has at most a hundred events.
MAX_HELD_ROWS = 1_000
# Records that the preview of a policy reads.
MAX_PREVIEWED = 20_000

# For PostgreSQL: whether a webhook's policy ignores an event, like ``policies.is_ignored``.
IGNORED = """
    webhooks.ignore_rules IS NOT NULL AND EXISTS (
        SELECT FROM jsonb_to_recordset(webhooks.ignore_rules) AS rule (method TEXT, pattern TEXT, low INT, high INT)
        WHERE :status BETWEEN rule.low AND rule.high
        AND (rule.method IS NULL OR rule.method = :method)
        AND (rule.pattern IS NULL OR :path LIKE rule.pattern)
    )
"""


def shown(webhook: Webhook) -> dict[str, Any]:
    """The policy as the API shows it."""
    threshold = {"events": webhook.threshold_events, "seconds": webhook.threshold_seconds}
    return {
        "ignore": [compiled["rule"] for compiled in webhook.ignore_rules or []],
        "threshold": threshold if webhook.threshold_events else None,
        "mention": {"role_id": webhook.mention_role_id} if webhook.mention_role_id else None,
        "remind_after_seconds": webhook.remind_after_seconds,
    }


def change(webhook: Webhook, policy: dict[str, Any]) -> None:
    """Replace the policy. Without a threshold, gathered events may be sent. Raises WebhookNotFound."""
    threshold, mention = policy["threshold"] or {}, policy["mention"] or {}
    pause, now = policy["remind_after_seconds"], utcnow()
    values = {
        "ignore_rules": [compile_rule(rule) for rule in policy["ignore"]] or None,
        "threshold_events": threshold.get("events"),
        "threshold_seconds": threshold.get("seconds"),
        "mention_role_id": mention.get("role_id"),
        "remind_after_seconds": pause,
        "next_reminder_at": now + timedelta(seconds=pause) if pause and webhook.incident_since else None,
        "ignored_told": counts(webhook.id)["ignored"],
        "ignored_told_at": now,
    }
    webhooks.change_columns(webhook, values)


def list_events(webhook: Webhook, since: datetime) -> list[Seen]:
    """The webhook's events since then, oldest first; of a busy source, those among its MAX_PREVIEWED newest records."""
    newest = select(
        TrafficRecord.id,
        TrafficRecord.level,
        TrafficRecord.created_at,
        TrafficRecord.method,
        TrafficRecord.status,
        TrafficRecord.pathname_id,
    ).where(TrafficRecord.traffic_source_id == webhook.traffic_source_id, TrafficRecord.id >= first_id_at(since))
    records = newest.order_by(TrafficRecord.id.desc()).limit(MAX_PREVIEWED).subquery()
    events = select(records.c.created_at, records.c.method, Pathname.value, records.c.status)
    events = events.join(Pathname, Pathname.id == records.c.pathname_id).where(records.c.level == webhook.level)
    with list_room:
        rows = db.session.execute(events.order_by(records.c.id)).all()
    return [Seen(*row) for row in rows]


def count_sql(counted: str) -> str:
    """The only INSERT of policy counts: adds the rows ``(webhook_id, slot, ignored, held_back)`` of ``counted``."""
    return f"""
    INSERT INTO policy_counts (webhook_id, slot, ignored, held_back) {counted}
    ON CONFLICT (webhook_id, slot) DO UPDATE SET
        ignored = policy_counts.ignored + excluded.ignored, held_back = policy_counts.held_back + excluded.held_back
    """  # nosec B608


_COUNT = text(count_sql("VALUES (:webhook_id, :slot, :ignored, :held_back)")).bindparams(
    bindparam("webhook_id", type_=Identifier)
)


def slot() -> int:
    """A slot at random."""
    return monotonic_ns() // 1_000 % SLOTS


def count(webhook_id: str, *, ignored: int = 0, held_back: int = 0) -> None:
    """Add to the webhook's counts. Does not commit."""
    values = {"webhook_id": webhook_id, "slot": slot(), "ignored": ignored, "held_back": held_back}
    db.session.execute(_COUNT, values)


def counts(webhook_id: str) -> dict[str, int]:
    """How many events the webhook's policy ``ignored``, and ``held_back`` for good."""
    sums = select(func.sum(PolicyCount.ignored), func.sum(PolicyCount.held_back))
    row = db.session.execute(sums.where(PolicyCount.webhook_id == webhook_id)).one()
    return {"ignored": int(row[0] or 0), "held_back": int(row[1] or 0)}


def judge_held(webhook_ids: Sequence[str], now: datetime) -> bool:
    """Open the incidents of webhooks whose threshold is reached, and give up events that are too old to reach it.

    Returns whether it opened any. Does not commit. Skips webhooks that another dispatcher judges.
    """
    begin_writing()
    held = _held(_lock(webhook_ids), now)
    opened = False
    for webhook, rows in held.items():
        threshold = Threshold(webhook.threshold_events, webhook.threshold_seconds)
        # If more rows follow, they may still reach the threshold together with the last ones that were read.
        until = now if len(rows) < MAX_HELD_ROWS else rows[-1].created_at
        verdict = judge([Held(row.created_at, row.event_count) for row in rows], threshold, until)
        _give_up(webhook.id, [row.id for row in rows[: verdict.given_up]])
        if verdict.is_reached:
            first, last = rows[verdict.given_up].created_at, rows[-1].created_at
            begun = update(Webhook).where(Webhook.id == webhook.id)
            unsynchronized(begun.values(incident_since=first, last_event_at=last, incident_events=0))
            opened = True
    return opened


def _lock(webhook_ids: Iterable[str]) -> Sequence[Row[*tuple[Any, ...]]]:
    seconds = func.coalesce(Webhook.threshold_seconds, 0).label("threshold_seconds")
    query = select(Webhook.id, Webhook.threshold_events, seconds).where(
        Webhook.id.in_(sorted(webhook_ids)), Webhook.threshold_events.is_not(None), Webhook.incident_since.is_(None)
    )
    return db.session.execute(query.order_by(Webhook.id).with_for_update(key_share=True, skip_locked=True)).all()


def _held(webhooks: Sequence[Row[*tuple[Any, ...]]], now: datetime) -> dict[Any, list[Row[*tuple[Any, ...]]]]:
    """The gathered deliveries of each webhook, oldest first."""
    held: dict[Any, list[Row[*tuple[Any, ...]]]] = defaultdict(list)
    is_readable = Delivery.created_at.between(now - LONG_AGO, now)
    created_at = case((is_readable, Delivery.created_at), else_=now).label("created_at")
    for webhook in webhooks:
        rows = select(Delivery.id, created_at, Delivery.event_count).where(
            Delivery.webhook_id == webhook.id, IS_GATHERED
        )
        held[webhook] = list(db.session.execute(rows.order_by(Delivery.id).limit(MAX_HELD_ROWS)).all())
    return held


def _give_up(webhook_id: str, delivery_ids: Sequence[str]) -> None:
    if delivery_ids:
        gone = delete(Delivery).where(Delivery.id.in_(delivery_ids), IS_GATHERED)
        events = db.session.scalars(gone.returning(Delivery.event_count)).all()
        count(webhook_id, held_back=sum(events))
