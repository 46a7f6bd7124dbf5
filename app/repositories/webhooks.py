"""Webhooks: where the events of a traffic source go, by level."""

from datetime import datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy import func, select, update

from app.discord.address import Address
from app.errors import LevelTaken, TrafficSourceNotFound, WebhookNotFound
from app.extensions import db
from app.models import Delivery, Destination, TrafficSource, Webhook
from app.models.columns import utcnow
from app.models.traffic import LEVELS
from app.repositories.base import begin_writing, insert_ignoring_conflicts, table_of, unsynchronized, violations_as

# How often a destination may be removed at the very moment it is needed again.
TRIES = 3


def get(webhook_id: str) -> Webhook:
    """Raises WebhookNotFound."""
    webhook = db.session.get(Webhook, webhook_id)
    if webhook is None or webhook.traffic_source_id is None:
        raise WebhookNotFound
    return webhook


def get_locked(webhook_id: str) -> Webhook:
    """As it is now, until the end of the transaction. Raises WebhookNotFound where it was deleted."""
    begin_writing()
    query = select(Webhook).where(Webhook.id == webhook_id, Webhook.traffic_source_id.is_not(None))
    fresh = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    if webhook := db.session.scalar(fresh):
        return webhook
    raise WebhookNotFound


def count_suspended() -> int:
    suspended = sql.text("webhooks.state = 'suspended'")  # As text, for SQLite to use the partial index.
    of_somebody = TrafficSource.user_id.is_not(None)
    query = select(func.count()).select_from(Webhook).join(TrafficSource).where(suspended, of_somebody)
    return db.session.scalar(query) or 0


def list_of(source_id: str) -> list[Webhook]:
    """Most severe level first: at most one per level."""
    found = db.session.scalars(select(Webhook).where(Webhook.traffic_source_id == source_id))
    return sorted(found, key=lambda webhook: LEVELS.index(webhook.level))


def add(source_id: str, type: str, level: str, address: Address) -> Webhook:
    """Raises TrafficSourceNotFound where the source went meanwhile and, under any concurrency, LevelTaken."""
    webhook = Webhook(traffic_source_id=source_id, type=type, level=level, **_pointing_at(address))
    with violations_as(taken=LevelTaken(), gone=TrafficSourceNotFound()):
        db.session.add(webhook)
        db.session.flush()
    return webhook


def change(webhook: Webhook, address: Address, type: str, level: str) -> Webhook:
    """Changes the webhook and, where it was suspended, resumes it: what waited goes out.

    Raises LevelTaken, WebhookNotFound.
    """
    moved = (webhook.value_template, webhook.token) != (address.template, address.token)
    _lock_source(webhook.traffic_source_id)
    with violations_as(taken=LevelTaken(), gone=WebhookNotFound()):
        values = {"type": type, "level": level, "updated_at": utcnow()}
        _change(webhook, values | _pointing_at(address))
        if moved or webhook.state == "suspended":
            resume(webhook)
    return webhook


def resume(webhook: Webhook) -> None:
    """Take up sending again, at once. Raises WebhookNotFound.

    What the address refused was not delivered, so it may be merged anew, and is due without delay.
    """
    _change(webhook, {"state": "active", "reason": None, "next_message_at": None})
    _make_due(webhook.id)


def resume_readable(reason: str) -> None:
    """Resume what was suspended for ``reason``, an unreadable token, and can be read now."""
    suspended = select(Webhook.id, Webhook.token).where(Webhook.state == "suspended", Webhook.reason == reason)
    for webhook_id in [row.id for row in db.session.execute(suspended).all() if row.token]:
        unsynchronized(update(Webhook).where(Webhook.id == webhook_id).values(state="active", reason=None))
        _make_due(webhook_id)


def mute(webhook: Webhook, until: datetime | None) -> None:
    """Send nothing before ``until``: what comes meanwhile gathers. None ends it, and what gathered goes out.

    Raises WebhookNotFound.
    """
    ended = {"next_message_at": None} if until is None else {}
    _change(webhook, {"muted_until": until} | ended)


def suspend(webhook_id: str, reason: str) -> None:
    """Stop sending until ``resume``; what is pending waits, and what comes meanwhile gathers."""
    values = {"state": "suspended", "reason": reason, "last_error": reason}
    db.session.execute(update(Webhook).where(Webhook.id == webhook_id).values(values))


def delete(webhook: Webhook) -> None:
    """Deletes the webhook: it has no traffic source, and no secret, any more. Raises WebhookNotFound where it is gone.

    However many deliveries it has, this is one row; ``retention`` removes them in small steps.
    """
    _change(webhook, {"traffic_source_id": None, "token": None, "state": "suspended", "reason": "deleted"})  # nosec B105


def _change(webhook: Webhook, values: dict[str, Any]) -> None:
    """Raises WebhookNotFound where it was deleted meanwhile."""
    there = update(Webhook).where(Webhook.id == webhook.id, Webhook.traffic_source_id.is_not(None))
    if not unsynchronized(there.values(values)):
        raise WebhookNotFound
    db.session.refresh(webhook)


def _lock_source(source_id: str | None) -> None:
    """Two that swap the levels of a source's webhooks would else wait for each other."""
    source = select(TrafficSource.id).where(TrafficSource.id == source_id)
    db.session.execute(source.with_for_update(key_share=True))


def _make_due(webhook_id: str) -> None:
    """What was tried and waits may be merged, and is due, as what was never tried is anyway."""
    tried = update(Delivery).where(
        Delivery.webhook_id == webhook_id,
        Delivery.state == sql.literal_column("'pending'"),
        Delivery.nonce.is_not(None),
        Delivery.event_count > 0,
    )
    unsynchronized(tried.values(nonce=None, next_attempt_at=utcnow()))


def _pointing_at(address: Address) -> dict[str, Any]:
    """Column values of a webhook, and the destination that they need: made where it is new, and kept from removal."""
    known = select(Destination.id).where(Destination.id == address.destination_id)
    insert_destination = insert_ignoring_conflicts(table_of(Destination)).from_select(
        ["id", "kind"],
        # ON CONFLICT alone would wait for a dispatcher that is claiming this destination just now.
        select(sql.literal(address.destination_id), sql.literal(address.kind)).where(~known.exists()),
    )
    for _ in range(TRIES):
        db.session.execute(insert_destination)
        # A claim goes on beside this lock, a removal waits.
        if db.session.scalar(known.with_for_update(read=True, key_share=True)):
            break
    return {"value_template": address.template, "token": address.token, "destination_id": address.destination_id}
