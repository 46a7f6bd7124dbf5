from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy import func, select, update

from app.discord.address import Address
from app.errors import LevelTaken, NotYours, TrafficSourceNotFound, WebhookNotFound
from app.extensions import db
from app.models import Delivery, Destination, TrafficSource, Webhook
from app.models.columns import utcnow
from app.models.traffic import LEVELS
from app.repositories.base import conflicts_as, insert_ignoring_conflicts, unsynchronized


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


def get_with_source(webhook_id: str, user_id: str) -> tuple[Webhook, str]:
    """The webhook and the name of its traffic source. Raises as ``get_owned``."""
    webhook = get_owned(webhook_id, user_id)
    return webhook, db.session.get_one(TrafficSource, webhook.traffic_source_id).name


def count_suspended() -> int:
    return db.session.scalar(select(func.count()).where(Webhook.state == "suspended")) or 0


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
    _lock_source(webhook.traffic_source_id)
    with conflicts_as(taken=LevelTaken(), gone=WebhookNotFound()):
        webhook.type, webhook.level, webhook.updated_at = type, level, utcnow()
        _point_at(webhook, address)
        if moved or webhook.state == "suspended":
            resume(webhook)
    return webhook


def resume(webhook: Webhook) -> None:
    """Take up sending again, at once. What the old address refused was not delivered, so it may be merged anew."""
    with conflicts_as(gone=WebhookNotFound()):
        webhook.state, webhook.reason = "active", None
        _reschedule(webhook.id, next_attempt_at=max(utcnow(), webhook.muted_until or utcnow()), nonce=None)


def mute(webhook: Webhook, until: datetime | None) -> None:
    """Send nothing before ``until``: what comes meanwhile gathers. None ends it, and what gathered goes out."""
    with conflicts_as(gone=WebhookNotFound()):
        webhook.muted_until = until
        if webhook.state == "active":
            _reschedule(webhook.id, next_attempt_at=until or utcnow())


def suspend(webhook_id: str, reason: str) -> None:
    """Stop sending until ``resume``; what is pending waits, and what comes meanwhile gathers."""
    values = {"state": "suspended", "reason": reason, "last_error": reason}
    db.session.execute(update(Webhook).where(Webhook.id == webhook_id).values(values))
    _reschedule(webhook_id, next_attempt_at=None)


def delete(webhook: Webhook) -> None:
    """Removes the webhook with its deliveries, pending ones included. Raises WebhookNotFound where it is gone."""
    if not unsynchronized(sql.delete(Webhook).where(Webhook.id == webhook.id)):
        raise WebhookNotFound


def _lock_source(source_id: str) -> None:
    """Two that swap the levels of a source's webhooks would else wait for each other."""
    source = select(TrafficSource.id).where(TrafficSource.id == source_id)
    db.session.execute(source.with_for_update(key_share=True))


def _reschedule(webhook_id: str, **values: Any) -> None:
    unsynchronized(
        update(Delivery).where(Delivery.webhook_id == webhook_id, Delivery.state == "pending").values(values)
    )


def _point_at(webhook: Webhook, address: Address) -> None:
    db.session.execute(insert_ignoring_conflicts(Destination).values(id=address.destination_id, kind=address.kind))
    webhook.value_template, webhook.token = address.template, address.token
    webhook.destination_id = address.destination_id
