"""Incidents: from the first event of a webhook until it was quiet for a while. Puts recovery notices."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update

from app.digests import Recovery, to_milliseconds
from app.extensions import db
from app.models import Delivery, Webhook
from app.repositories.base import begin_writing, unsynchronized
from app.repositories.outbox import IS_OPEN, put

BATCH_SIZE = 100


def list_over(now: datetime, quiet_for: timedelta) -> Sequence[str]:
    """Ids of up to BATCH_SIZE webhooks without events for ``quiet_for`` and without open deliveries."""
    is_quiet = or_(Webhook.last_event_at < now - quiet_for, Webhook.last_event_at > now + quiet_for)
    over = select(Webhook.id).where(
        Webhook.incident_since.is_not(None),
        is_quiet,
        Webhook.state == "active",
        ~select(Delivery.id).where(Delivery.webhook_id == Webhook.id, IS_OPEN).exists(),
    )
    return db.session.scalars(over.order_by(Webhook.last_event_at).limit(BATCH_SIZE)).all()


def close(webhook_id: str, now: datetime) -> None:
    """End the incident and, if it was ``fatal`` with several events, put a recovery notice. Does not commit.

    Does nothing if another dispatcher holds the webhook or has closed the incident.
    """
    begin_writing()
    query = select(Webhook.level, Webhook.incident_events, Webhook.incident_since, Webhook.last_event_at).where(
        Webhook.id == webhook_id, Webhook.incident_since.is_not(None)
    )
    webhook = db.session.execute(query.with_for_update(key_share=True, skip_locked=True)).one_or_none()
    if webhook is None:
        return
    unsynchronized(update(Webhook).where(Webhook.id == webhook_id).values(incident_since=None, incident_events=0))
    if webhook.level == "fatal" and webhook.incident_events > 1:
        recovery = Recovery(
            webhook.incident_events,
            to_milliseconds(webhook.incident_since),
            to_milliseconds(webhook.last_event_at),
            to_milliseconds(now),
        )
        put(webhook_id, recovery, now)
