from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sql
from sqlalchemy import ColumnElement, Executable, Select, Table, bindparam, func, select, update

from app.discord.address import Address
from app.errors import LevelTaken, NotYours, TrafficSourceNotFound, WebhookNotFound
from app.extensions import db
from app.models import Delivery, Destination, TrafficSource, Webhook
from app.models.columns import new_id, utcnow
from app.models.traffic import LEVELS
from app.models.webhook import fill_in
from app.repositories.base import conflicts_as, insert_ignoring_conflicts, table_of, unsynchronized, violations_as
from app.repositories.callers import Caller, explain_refusal
from app.repositories.compiled import Compiled, fetch_all

webhooks_table = table_of(Webhook)
destinations_table = table_of(Destination)
# What is needed to show a webhook.
SHOWN = (
    "id",
    "type",
    "level",
    "value_template",
    "token",
    "destination_id",
    "traffic_source_id",
    "created_at",
    "updated_at",
)
_WEBHOOK = {name: f"webhook_{name}" for name in (*SHOWN, "state", "incident_events")}
_DESTINATION = {"id": "webhook_destination_id", "kind": "destination_kind"}


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
    suspended = sql.text("webhooks.state = 'suspended'")  # As text, for SQLite to use the partial index.
    return db.session.scalar(select(func.count()).select_from(Webhook).where(suspended)) or 0


def list_of(source_id: str, caller: Caller) -> list[dict[str, Any]]:
    """What is shown of each webhook of the source, most severe first: at most one per level.

    Raises InvalidToken, TrafficSourceNotFound, NotYours.
    """
    parameters = {**caller.parameters, "source_id": source_id}
    found = fetch_all(_list_statement, caller.own_source, parameters=parameters)
    if not found:
        explain_refusal(source_id, caller)
    webhooks = [_shown(webhook) for webhook in found if webhook["id"]]
    return sorted(webhooks, key=lambda webhook: LEVELS.index(webhook["level"]))


def add(source_id: str, caller: Caller, type: str, level: str, address: Address) -> dict[str, Any]:
    """Create and commit a webhook. Returns what is shown of it.

    Raises InvalidToken, TrafficSourceNotFound, NotYours and, under any concurrency, LevelTaken.
    """
    now = utcnow()
    webhook = {
        "id": new_id(),
        "type": type,
        "level": level,
        "value_template": address.template,
        "token": address.token,
        "destination_id": address.destination_id,
        "traffic_source_id": source_id,
        "created_at": now,
        "updated_at": now,
        "state": "active",
        "incident_events": 0,
    }
    parameters = {f"webhook_{name}": value for name, value in webhook.items()}
    parameters |= {**caller.parameters, "source_id": source_id, "destination_kind": address.kind}
    with violations_as(gone=TrafficSourceNotFound()):
        if db.is_postgresql:
            # A round trip costs as much as the work: it is all one.
            added = bool(_one_statement(caller.own_source).execute(parameters))
        else:
            added = _add_in_turn(caller.own_source, parameters)
    if not added:
        explain_refusal(source_id, caller)
        raise LevelTaken
    return _shown(webhook)


def _shown(webhook: Mapping[str, Any]) -> dict[str, Any]:
    return {**webhook, "value": fill_in(webhook["value_template"], webhook["token"])}


def _list_statement(own_source: Select[Any]) -> Select[Any]:
    own = own_source.subquery()
    shown = [webhooks_table.c[name] for name in SHOWN]
    return select(*shown).select_from(own.outerjoin(webhooks_table, webhooks_table.c.traffic_source_id == own.c[0]))


def _add_in_turn(own_source: Select[Any], parameters: dict[str, Any]) -> bool:
    add_destination, add_webhook = _statements(own_source)
    with db.engine.begin() as connection:
        connection.execute(add_destination, parameters)
        return connection.scalar(add_webhook, parameters) is not None


@cache
def _one_statement(own_source: Select[Any]) -> Compiled:
    own = own_source.cte("own")
    permitted = select(own).exists()
    destination = _insert(destinations_table, _DESTINATION, permitted).cte("destination")
    webhook = _insert(webhooks_table, _WEBHOOK, permitted).returning(webhooks_table.c.id)
    return Compiled(webhook.add_cte(destination))


@cache
def _statements(own_source: Select[Any]) -> tuple[Executable, Executable]:
    permitted = own_source.exists()
    webhook = _insert(webhooks_table, _WEBHOOK, permitted).returning(webhooks_table.c.id)
    return _insert(destinations_table, _DESTINATION, permitted), webhook


def _insert(table: Table, values: dict[str, str], condition: ColumnElement[bool]) -> Any:
    """Of the parameters that ``values`` names for columns, unless there is such a row already."""
    row = select(*(bindparam(name, type_=table.c[column].type) for column, name in values.items())).where(condition)
    return insert_ignoring_conflicts(table).from_select(list(values), row)


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


def resume_readable(reason: str) -> None:
    """Resume what was suspended for ``reason``, an unreadable token, and can be read now."""
    suspended = select(Webhook.id, Webhook.token).where(Webhook.state == "suspended", Webhook.reason == reason)
    for webhook_id in [row.id for row in db.session.execute(suspended).all() if row.token]:
        unsynchronized(update(Webhook).where(Webhook.id == webhook_id).values(state="active", reason=None))
        _reschedule(webhook_id, next_attempt_at=utcnow(), nonce=None)


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
