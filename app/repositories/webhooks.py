from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, cast

import sqlalchemy as sql
from sqlalchemy import ColumnElement, Executable, Select, Table, bindparam, func, select, update

from app.discord.address import Address
from app.errors import LevelTaken, NotFound, WebhookNotFound
from app.extensions import db
from app.models import Delivery, Destination, TrafficSource, Webhook
from app.models.columns import new_id, utcnow
from app.models.traffic import LEVELS
from app.models.webhook import fill_in
from app.repositories.access import Caller, check_owner, explain_refusal
from app.repositories.base import (
    begin_writing,
    conflicts_as,
    insert_ignoring_conflicts,
    table_of,
    unsynchronized,
    violations_as,
)
from app.repositories.statements import Compiled, fetch_all

# How often a destination may be removed at the very moment it is needed again.
TRIES = 3
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
    check_owner(row and row.user_id, user_id, WebhookNotFound)
    return cast(Webhook, row.Webhook)  # type: ignore[union-attr]


def get_with_source(webhook_id: str, user_id: str) -> tuple[Webhook, str]:
    """The webhook and the name of its traffic source. Raises as ``get_owned``."""
    webhook = get_owned(webhook_id, user_id)
    return webhook, db.session.get_one(TrafficSource, webhook.traffic_source_id).name


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
    try:
        added = _add(caller, parameters)
    except DestinationRemoved:
        added = _add(caller, parameters)
    if not added:
        explain_refusal(source_id, caller)
        raise LevelTaken
    return _shown(webhook)


class DestinationRemoved(NotFound):
    """The destination, which no webhook needed any more, was removed at this very moment; or the source was."""


def _add(caller: Caller, parameters: dict[str, Any]) -> bool:
    with violations_as(gone=DestinationRemoved()):
        if db.is_postgresql:
            # A round trip costs as much as the work: it is all one.
            return bool(_one_statement(caller.own_source).execute(parameters))
        return _add_in_turn(caller.own_source, parameters)


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
    destination, webhook = _insertions(select(own).exists())
    return Compiled(webhook.add_cte(destination.cte("destination")))


@cache
def _statements(own_source: Select[Any]) -> tuple[Executable, Executable]:
    return _insertions(own_source.exists())


def _insertions(permitted: ColumnElement[bool]) -> tuple[Any, Any]:
    """Of the destination, where it is new and the level is free, and of the webhook."""
    source_id, level = (webhooks_table.c[name] for name in ("traffic_source_id", "level"))
    taken = select(webhooks_table.c.id).where(
        source_id == bindparam(_WEBHOOK["traffic_source_id"], type_=source_id.type),
        level == bindparam(_WEBHOOK["level"], type_=level.type),
    )
    is_new = _is_new(bindparam(_DESTINATION["id"], type_=destinations_table.c.id.type))
    destination = _insert(destinations_table, _DESTINATION, permitted, ~taken.exists(), is_new)
    return destination, _insert(webhooks_table, _WEBHOOK, permitted).returning(webhooks_table.c.id)


def _insert(table: Table, values: dict[str, str], *conditions: ColumnElement[bool]) -> Any:
    """Of the parameters that ``values`` names for columns, unless there is such a row already."""
    row = select(*(bindparam(name, type_=table.c[column].type) for column, name in values.items())).where(*conditions)
    return insert_ignoring_conflicts(table).from_select(list(values), row)


def change(webhook: Webhook, address: Address, type: str, level: str) -> Webhook:
    """Changes the webhook and, where it was suspended, resumes it: what waited goes out.

    Raises LevelTaken, WebhookNotFound.
    """
    moved = (webhook.value_template, webhook.token) != (address.template, address.token)
    _lock_source(webhook.traffic_source_id)
    with conflicts_as(taken=LevelTaken(), gone=WebhookNotFound()):
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
    insert_destination = insert_ignoring_conflicts(destinations_table).from_select(
        ["id", "kind"],
        select(sql.literal(address.destination_id), sql.literal(address.kind)).where(_is_new(address.destination_id)),
    )
    kept = select(Destination.id).where(Destination.id == address.destination_id)
    for _ in range(TRIES):
        db.session.execute(insert_destination)
        # A claim goes on beside this lock, a removal does not.
        if db.session.scalar(kept.with_for_update(read=True, key_share=True)):
            break
    return {"value_template": address.template, "token": address.token, "destination_id": address.destination_id}


def _is_new(destination_id: Any) -> ColumnElement[bool]:
    """Asked before an insertion, which would wait for a dispatcher that is claiming this destination just now."""
    return ~select(Destination.id).where(Destination.id == destination_id).exists()
