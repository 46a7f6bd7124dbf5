"""Runs of fatal events, and telling that one is over."""

from datetime import datetime, timedelta

from sqlalchemy import select

from app.discord.digest import Recovery, to_milliseconds
from app.extensions import db
from app.models import Delivery, Webhook
from app.repositories.outbox import new_nonce


def add_recovery_notices(now: datetime, quiet_for: timedelta) -> int:
    """Owe a notice to each webhook whose fatal events stopped ``quiet_for`` ago. Returns how many."""
    over = (
        select(Webhook)
        .where(
            Webhook.incident_since.is_not(None),
            Webhook.last_event_at < now - quiet_for,
            Webhook.level == "fatal",
            Webhook.state == "active",
            ~select(Delivery.id)
            .where(Delivery.webhook_id == Webhook.id, Delivery.state.in_(("pending", "delivering")))
            .exists(),
        )
        .limit(100)
        .with_for_update(skip_locked=True)
    )
    webhooks = db.session.scalars(over).all()
    for webhook in webhooks:
        since, until = webhook.incident_since or now, webhook.last_event_at or now
        recovery = Recovery(webhook.incident_events, to_milliseconds(since), to_milliseconds(until))
        db.session.add(
            Delivery(
                webhook_id=webhook.id,
                event_count=0,
                digest=recovery.dumps(),
                nonce=new_nonce(),
                next_attempt_at=now,
                created_at=now,
            )
        )
        webhook.incident_since, webhook.incident_events = None, 0
    db.session.flush()
    return len(webhooks)
