"""Queries and changes of webhooks: creation, address, suspension, mute, deletion."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy import Integer, func, select, update

from app.discord.address import Address
from app.errors import LevelTaken, TrafficSourceNotFound, WebhookNotFound
from app.extensions import db
from app.models import Delivery, TrafficSource, Webhook
from app.models.columns import new_id, utcnow
from app.models.traffic import LEVELS
from app.models.webhook import fill_in
from app.repositories import access
from app.repositories.access import Caller, Role, SignedIn
from app.repositories.base import begin_writing, table_of, unsynchronized, violations_as
from app.repositories.outbox import HAS_NONCE, PENDING
from app.repositories.statements import Statement

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


def list_of(caller: Caller, source_id: str) -> list[dict[str, Any]]:
    """The source's webhooks as the API shows them to the caller, most severe level first.

    Raises InvalidToken, TrafficSourceNotFound, NotYours.
    """
    rows = _LIST.run(caller.values_for(source_id))
    if not rows:
        access.find(caller, TrafficSource, source_id).check(Role.READER)
    return sorted((_shown(row, row["role"]) for row in rows), key=lambda webhook: LEVELS.index(webhook["level"]))


def add_and_commit(caller: Caller, source_id: str, type: str, level: str, address: Address) -> dict[str, Any]:
    """Add a webhook and return it as the API shows it to the caller.

    Raises InvalidToken, TrafficSourceNotFound, NotYours, LevelTaken.
    """
    now = utcnow()
    webhook: dict[str, Any] = {"id": new_id(), "type": type, "level": level, "traffic_source_id": source_id}
    webhook |= _columns_of(address) | {"created_at": now, "updated_at": now}
    with violations_as(gone=TrafficSourceNotFound()):
        added = _ADD.run(webhook | caller.values_for(source_id))
    if added:
        return _shown(webhook, added[0]["role"])
    access.find(caller, TrafficSource, source_id).check(Role.EDITOR)
    raise LevelTaken


def shown(webhook: Webhook, role: Role) -> dict[str, Any]:
    """The webhook as the API shows it."""
    return _shown({name: getattr(webhook, name) for name in _READ}, role)


def change(webhook: Webhook, address: Address, type: str, level: str, user_id: str) -> None:
    """Change the webhook. If the address changed or it was suspended, resume it.

    From now on, the user answers for its refused messages.

    Raises LevelTaken, WebhookNotFound.
    """
    moved = (webhook.value_template, webhook.token) != (address.template, address.token)
    _lock_source(webhook.traffic_source_id)
    with violations_as(taken=LevelTaken(), gone=WebhookNotFound()):
        values = {"type": type, "level": level, "updated_at": utcnow(), "set_by_id": user_id}
        change_columns(webhook, values | _columns_of(address))
        if moved or webhook.state == "suspended":
            resume(webhook, user_id)


def resume(webhook: Webhook, user_id: str) -> None:
    """Make the webhook active, and its pending deliveries due at once; the user did so. Raises WebhookNotFound.

    Deliveries that Discord refused may be merged again.
    """
    change_columns(webhook, {"state": "active", "reason": None, "next_message_at": None, "set_by_id": user_id})
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
        HAS_NONCE,
        Delivery.state == PENDING,
        Delivery.event_count > 0,
    )
    nonce = sql.case((Delivery.delivered_at.is_(None), None), else_=Delivery.nonce)
    unsynchronized(tried.values(nonce=nonce, next_attempt_at=utcnow()))


def _columns_of(address: Address) -> dict[str, Any]:
    return {"value_template": address.template, "token": address.token, "destination_id": address.destination_id}


def _shown(webhook: Mapping[str, Any], role: int) -> dict[str, Any]:
    """Only the owner of the source sees the tokens of its webhook URLs."""
    token = webhook["token"] if role == Role.OWNER else MASK
    return {**{name: webhook[name] for name in _SHOWN}, "value": fill_in(webhook["value_template"], token)}


_columns = {column.name: column.type for column in table_of(Webhook).columns}
_PARAMETERS = _columns | access.PARAMETERS
_ROLE = {"role": Integer()}
_SHOWN = ("id", "type", "level", "value_template", "traffic_source_id", "created_at", "updated_at")
_READ = (*_SHOWN, "token")
# A caller without the right to do it gets no row from these statements.
_LIST = Statement(
    f"""
    SELECT access.role, {", ".join(f"webhooks.{name}" for name in _READ)}
    FROM ({access.query(SignedIn.authenticated)}) AS access
    JOIN webhooks ON webhooks.traffic_source_id = access.source_id
    WHERE access.role >= {Role.READER:d}
    """,  # noqa: S608 # nosec B608
    _PARAMETERS,
    _ROLE | {name: _columns[name] for name in _READ},
)
_ADD = Statement(
    f"""
    WITH access AS ({access.query(SignedIn.authenticated)})
    INSERT INTO webhooks (
        id, type, level, value_template, token, destination_id, traffic_source_id, created_at, updated_at,
        set_by_id, state, incident_events
    )
    SELECT
        :id, :type, :level, :value_template, :token, :destination_id, :traffic_source_id, :created_at, :updated_at,
        :user_id, 'active', 0
    FROM access WHERE role >= {Role.EDITOR:d}
    ON CONFLICT DO NOTHING RETURNING (SELECT role FROM access) AS role
    """,  # noqa: S608 # nosec B608
    _PARAMETERS,
    _ROLE,
)
