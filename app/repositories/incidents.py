"""Incidents: from the first event of a webhook until it was quiet for a while. Puts recovery notices and reminders."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, update

from app.digests import Recovery, Reminder, to_milliseconds
from app.extensions import db
from app.models import Delivery, Webhook
from app.repositories import deliveries
from app.repositories.base import begin_writing, unsynchronized
from app.repositories.outbox import HAS_NONCE, IS_OPEN, put

BATCH_SIZE = 100
# How long a webhook without recovery notices must be quiet for its incident to be over.
QUIET = timedelta(minutes=5)


def list_over(now: datetime, quiet_for: timedelta) -> Sequence[str]:
    """Ids of up to BATCH_SIZE webhooks whose incident is over."""
    over = select(Webhook.id).where(*_is_over(now, quiet_for), Webhook.state == "active")
    return db.session.scalars(over.order_by(Webhook.last_event_at).limit(BATCH_SIZE)).all()


def _is_over(now: datetime, quiet_for: timedelta) -> Iterator[ColumnElement[bool]]:
    """Neither an event nor a message for ``quiet_for``, and no open delivery. A message may be about old events."""
    yield Webhook.incident_since.is_not(None)
    yield or_(Webhook.last_event_at < now - quiet_for, Webhook.last_event_at > now + quiet_for)
    told_at = Webhook.last_delivered_at
    yield or_(told_at.is_(None), told_at < now - quiet_for, told_at > now + quiet_for)
    yield ~select(Delivery.id).where(Delivery.webhook_id == Webhook.id, IS_OPEN).exists()


def close(webhook_id: str, now: datetime, quiet_for: timedelta, is_told: bool = True) -> None:
    """End the incident and, if ``is_told`` and it was ``fatal`` with several events, put a recovery notice.

    Does not commit. Does nothing if it goes on after all, or if another dispatcher holds the webhook or has closed it.
    """
    begin_writing()
    query = select(Webhook.level, Webhook.incident_events, Webhook.incident_since, Webhook.last_event_at).where(
        Webhook.id == webhook_id, *_is_over(now, quiet_for)
    )
    webhook = db.session.execute(query.with_for_update(key_share=True, skip_locked=True)).one_or_none()
    if webhook is None:
        return
    ended = {"incident_since": None, "incident_events": 0, "next_reminder_at": None, "reminded_at": None}
    unsynchronized(update(Webhook).where(Webhook.id == webhook_id).values(ended))
    if is_told and webhook.level == "fatal" and webhook.incident_events > 1:
        recovery = Recovery(
            webhook.incident_events,
            to_milliseconds(webhook.incident_since),
            to_milliseconds(webhook.last_event_at),
            to_milliseconds(now),
        )
        put(webhook_id, recovery, now)


def remind(now: datetime) -> int:
    """Put the reminders that are due, of up to BATCH_SIZE webhooks, and set the next ones. Does not commit.

    Returns the number of webhooks.
    """
    begin_writing()
    due = _due_for_reminder(now)
    for webhook in due:
        pause = timedelta(seconds=webhook.remind_after_seconds)
        values = {"next_reminder_at": webhook.incident_since + pause}
        if webhook.next_reminder_at:
            values["next_reminder_at"] = now + pause
            if webhook.goes_on:
                events = webhook.incident_events + deliveries.count_new_events(webhook.id)
                reminder = Reminder(
                    events,
                    to_milliseconds(webhook.incident_since),
                    last_at=to_milliseconds(webhook.last_event_at),
                )
                put(webhook.id, reminder, now)
                values["reminded_at"] = now
        unsynchronized(update(Webhook).where(Webhook.id == webhook.id).values(values))
    return len(due)


def _due_for_reminder(now: datetime) -> Sequence[Row[*tuple[Any, ...]]]:
    """Webhooks that may send. ``goes_on``: events came since the last reminder, and no notice waits to be sent."""
    notice = select(Delivery.id).where(Delivery.webhook_id == Webhook.id, HAS_NONCE, Delivery.event_count == 0)
    may_be_reminded = (or_(Webhook.muted_until.is_(None), Webhook.muted_until <= now), Webhook.state == "active")
    goes_on = and_(Webhook.last_event_at > func.coalesce(Webhook.reminded_at, Webhook.incident_since), ~notice.exists())
    due = select(
        *(Webhook.id, Webhook.remind_after_seconds, Webhook.incident_since, Webhook.incident_events),
        *(Webhook.next_reminder_at, Webhook.last_event_at, goes_on.label("goes_on")),
    ).where(
        Webhook.remind_after_seconds.is_not(None),
        Webhook.incident_since.is_not(None),
        *may_be_reminded,
        or_(Webhook.next_reminder_at.is_(None), Webhook.next_reminder_at <= now),
    )
    due = due.order_by(Webhook.next_reminder_at.nulls_first(), Webhook.id).limit(BATCH_SIZE)
    return db.session.execute(due.with_for_update(key_share=True, skip_locked=True)).all()
