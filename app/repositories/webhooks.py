"""Queries and changes of webhooks: creation, address, suspension, mute, deletion."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy import func, select, update

from app.discord.address import Address
from app.errors import LevelTaken, TrafficSourceNotFound, WebhookNotFound
from app.extensions import db
from app.models import Delivery, Destination, TrafficSource, Webhook
from app.models.columns import NO_ID, Identifier, new_id, utcnow
from app.models.traffic import LEVELS
from app.models.webhook import fill_in
from app.repositories.base import begin_writing, table_of, unsynchronized, violations_as
from app.repositories.statements import Statement

# Attempts to use a destination while dispatchers purge it.
TRIES = 3
# Stands for a token. It is no part of a valid URL, so that a masked one cannot be sent back by mistake.
MASK = "****"


def get(webhook_id: str) -> Webhook:
    """Raises WebhookNotFound."""
    webhook = db.session.get(Webhook, webhook_id)
    if webhook is None or webhook.traffic_source_id is None:
        raise WebhookNotFound
    return webhook


def get_locked(webhook_id: str) -> Webhook:
    """The webhook re-read and locked until the transaction ends. Raises WebhookNotFound."""
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


def masked(webhook: dict[str, Any]) -> dict[str, Any]:
    """The webhook, as the functions here return it, without the token of its URL."""
    return webhook | {"value": fill_in(webhook["value_template"], MASK), "token": None}  # nosec B105


def list_of(source_id: str) -> list[dict[str, Any]]:
    """The source's webhooks as the API shows them, most severe level first."""
    found = [_shown(webhook) for webhook in _LIST.run({"traffic_source_id": source_id})]
    return sorted(found, key=lambda webhook: LEVELS.index(webhook["level"]))


def add_and_commit(source_id: str, type: str, level: str, address: Address) -> dict[str, Any]:
    """Add a webhook and return it as the API shows it. Raises TrafficSourceNotFound, LevelTaken."""
    now = utcnow()
    webhook: dict[str, Any] = {"id": new_id(), "type": type, "level": level, "traffic_source_id": source_id}
    webhook |= {"value_template": address.template, "token": address.token, "created_at": now, "updated_at": now}
    webhook |= {"destination_id": address.destination_id, "destination_kind": address.kind}
    for _ in range(TRIES):
        _ADD_DESTINATION.run(webhook)
        try:
            with violations_as(gone=TrafficSourceNotFound()):
                added = _ADD.run(webhook)
        except TrafficSourceNotFound:
            continue  # Perhaps only the destination was purged, which no webhook used yet.
        if not added:
            owner = select(TrafficSource.user_id).where(TrafficSource.id == source_id)
            raise LevelTaken if db.session.scalar(owner) else TrafficSourceNotFound
        return _shown(webhook)
    raise TrafficSourceNotFound


def change(webhook: Webhook, address: Address, type: str, level: str) -> dict[str, Any]:
    """Change the webhook, and return it as the API shows it. If the address changed or it was suspended, resume it.

    Raises LevelTaken, WebhookNotFound.
    """
    moved = (webhook.value_template, webhook.token) != (address.template, address.token)
    _lock_source(webhook.traffic_source_id)
    with violations_as(taken=LevelTaken(), gone=WebhookNotFound()):
        values = {"type": type, "level": level, "updated_at": utcnow()}
        change_columns(webhook, values | _pointing_at(address))
        if moved or webhook.state == "suspended":
            resume(webhook)
    return _shown({name: getattr(webhook, name) for name in _SHOWN})


def resume(webhook: Webhook) -> None:
    """Make the webhook active, and its pending deliveries due at once. Raises WebhookNotFound.

    Deliveries that Discord refused may be merged again.
    """
    change_columns(webhook, {"state": "active", "reason": None, "next_message_at": None})
    _make_due(webhook.id)


def resume_readable(reason: str) -> None:
    """Resume webhooks that were suspended for ``reason``, an unreadable token, and are readable now."""
    suspended = select(Webhook.id, Webhook.token).where(Webhook.state == "suspended", Webhook.reason == reason)
    for webhook_id in [row.id for row in db.session.execute(suspended).all() if row.token]:
        unsynchronized(update(Webhook).where(Webhook.id == webhook_id).values(state="active", reason=None))
        _make_due(webhook_id)


def mute(webhook: Webhook, until: datetime | None) -> None:
    """Mute the webhook until ``until``; its events gather. None ends the mute. Raises WebhookNotFound."""
    ended = {"next_message_at": None} if until is None else {}
    change_columns(webhook, {"muted_until": until} | ended)


def suspend(webhook_id: str, reason: str) -> None:
    """Stop sending until ``resume``; deliveries stay pending, and new events gather."""
    values = {"state": "suspended", "reason": reason, "last_error": reason}
    db.session.execute(update(Webhook).where(Webhook.id == webhook_id).values(values))


def delete(webhook: Webhook) -> None:
    """Mark the webhook as deleted: remove its traffic source and secret. Raises WebhookNotFound.

    Fast for any number of deliveries; ``delivery/retention.py`` purges them in batches.
    """
    change_columns(webhook, {"traffic_source_id": None, "token": None, "state": "suspended", "reason": "deleted"})  # nosec B105


def change_columns(webhook: Webhook, values: dict[str, Any]) -> None:
    """Raises WebhookNotFound if the webhook was deleted meanwhile."""
    there = update(Webhook).where(Webhook.id == webhook.id, Webhook.traffic_source_id.is_not(None))
    if not unsynchronized(there.values(values)):
        raise WebhookNotFound
    db.session.refresh(webhook)


def _lock_source(source_id: str | None) -> None:
    """Serialise changes of a source's webhooks: two that swap levels could deadlock on the unique constraint."""
    source = select(TrafficSource.id).where(TrafficSource.id == source_id)
    db.session.execute(source.with_for_update(key_share=True))


def _make_due(webhook_id: str) -> None:
    """Make deliveries that were tried mergeable and due, as untried ones are anyway."""
    tried = update(Delivery).where(
        Delivery.webhook_id == webhook_id,
        Delivery.state == sql.literal_column("'pending'"),
        Delivery.nonce.is_not(None),
        Delivery.event_count > 0,
    )
    nonce = sql.case((Delivery.delivered_at.is_(None), None), else_=Delivery.nonce)
    unsynchronized(tried.values(nonce=nonce, next_attempt_at=utcnow()))


def _pointing_at(address: Address) -> dict[str, Any]:
    """Column values of the webhook. Creates the destination, and locks it against purging."""
    values = {"destination_id": address.destination_id, "destination_kind": address.kind}
    known = select(Destination.id).where(Destination.id == address.destination_id)
    for _ in range(TRIES):
        _ADD_DESTINATION.run_in_session(values | {"traffic_source_id": NO_ID, "level": ""})
        # This lock blocks deletion, but no claim.
        if db.session.scalar(known.with_for_update(read=True, key_share=True)):
            break
    return {"value_template": address.template, "token": address.token, "destination_id": address.destination_id}


def _shown(webhook: Mapping[str, Any]) -> dict[str, Any]:
    return {**webhook, "value": fill_in(webhook["value_template"], webhook["token"])}


_columns = {column.name: column.type for column in table_of(Webhook).columns}
_PARAMETERS = _columns | {"destination_kind": table_of(Destination).c.kind.type}
_SHOWN = ("id", "type", "level", "value_template", "token", "traffic_source_id", "created_at", "updated_at")
_LIST = Statement(
    f"SELECT {', '.join(_SHOWN)} FROM webhooks WHERE traffic_source_id = :traffic_source_id",  # noqa: S608 # nosec B608
    _PARAMETERS,
    {name: _columns[name] for name in _SHOWN},
)
# Creates the destination of a new webhook, if its level is free; retention purges it if no webhook follows.
# WHERE NOT EXISTS because ON CONFLICT alone would wait for a dispatcher that is claiming the destination.
_ADD_DESTINATION = Statement(
    """
    INSERT INTO destinations (id, kind) SELECT :destination_id, :destination_kind
    WHERE NOT EXISTS (SELECT 1 FROM destinations WHERE id = :destination_id)
    AND NOT EXISTS (SELECT 1 FROM webhooks WHERE traffic_source_id = :traffic_source_id AND level = :level)
    ON CONFLICT DO NOTHING RETURNING id
    """,
    _PARAMETERS,
    {"id": _columns["destination_id"]},
)
_ADD = Statement(
    """
    INSERT INTO webhooks (
        id, type, level, value_template, token, destination_id, traffic_source_id, created_at, updated_at,
        state, incident_events
    )
    SELECT
        :id, :type, :level, :value_template, :token, :destination_id, :traffic_source_id, :created_at, :updated_at,
        'active', 0
    WHERE EXISTS (SELECT 1 FROM traffic_sources WHERE id = :traffic_source_id AND user_id IS NOT NULL)
    ON CONFLICT DO NOTHING RETURNING id
    """,
    _PARAMETERS,
    {"id": Identifier},
)
