from collections.abc import Sequence

from sqlalchemy import select, update

from app.discord.address import Address
from app.errors import LevelTaken, NotYours, TrafficSourceNotFound, WebhookNotFound
from app.extensions import db
from app.models import Delivery, Destination, TrafficSource, Webhook
from app.models.columns import utcnow
from app.models.traffic import LEVELS
from app.repositories.base import conflicts_as, insert_ignoring_conflicts


def get_owned(webhook_id: str, user_id: str) -> Webhook:
    """Raises WebhookNotFound, and NotYours where its traffic source belongs to another user."""
    query = select(Webhook, TrafficSource.user_id).join(TrafficSource).where(Webhook.id == webhook_id)
    row = db.session.execute(query).one_or_none()
    if row is None:
        raise WebhookNotFound
    if row.user_id != user_id:
        raise NotYours
    webhook: Webhook = row.Webhook
    return webhook


def list_of(source_id: str) -> Sequence[Webhook]:
    """At most one per level, most severe first."""
    webhooks = db.session.scalars(select(Webhook).where(Webhook.traffic_source_id == source_id)).all()
    return sorted(webhooks, key=lambda webhook: LEVELS.index(webhook.level))


def add(source_id: str, type: str, level: str, address: Address) -> Webhook:
    """Raises LevelTaken, under any concurrency, and TrafficSourceNotFound."""
    webhook = Webhook(traffic_source_id=source_id, type=type, level=level)
    _point_at(webhook, address)
    with conflicts_as(taken=LevelTaken(), gone=TrafficSourceNotFound()):
        db.session.add(webhook)
    return webhook


def change(webhook: Webhook, address: Address, type: str, level: str) -> Webhook:
    """Changes the webhook and, where it was suspended, resumes it: what waited goes out. Raises LevelTaken."""
    moved = (webhook.value_template, webhook.token) != (address.template, address.token)
    with conflicts_as(taken=LevelTaken(), gone=WebhookNotFound()):
        webhook.type, webhook.level, webhook.updated_at = type, level, utcnow()
        _point_at(webhook, address)
        if moved or webhook.state == "suspended":
            resume(webhook)
    return webhook


def resume(webhook: Webhook) -> None:
    """Take up sending again, at once. What the old address refused was not delivered, so it may be merged anew."""
    webhook.state, webhook.reason = "active", None
    waiting = update(Delivery).where(Delivery.webhook_id == webhook.id, Delivery.state == "pending")
    db.session.execute(waiting.values(next_attempt_at=utcnow(), nonce=None))


def suspend(webhook_id: str, reason: str) -> None:
    """Stop sending until ``resume``; what is pending waits, and what comes meanwhile gathers."""
    values = {"state": "suspended", "reason": reason, "last_error": reason}
    db.session.execute(update(Webhook).where(Webhook.id == webhook_id).values(values))
    waiting = update(Delivery).where(Delivery.webhook_id == webhook_id, Delivery.state == "pending")
    db.session.execute(waiting.values(next_attempt_at=None))


def delete(webhook: Webhook) -> None:
    """Removes the webhook with its deliveries, pending ones included."""
    with conflicts_as(gone=WebhookNotFound()):
        db.session.delete(webhook)


def _point_at(webhook: Webhook, address: Address) -> None:
    db.session.execute(insert_ignoring_conflicts(Destination).values(id=address.destination_id))
    webhook.value_template, webhook.token = address.template, address.token
    webhook.destination_id = address.destination_id
