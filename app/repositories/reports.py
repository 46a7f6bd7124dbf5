"""Storing what is reported: the records, and what is owed to webhooks for them."""

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import psycopg
from psycopg.sql import SQL
from psycopg.sql import Identifier as SqlIdentifier
from sqlalchemy import ColumnElement, Executable, Row, Select, bindparam, case, func, insert, literal, select

from app.errors import TrafficSourceNotFound
from app.extensions import db
from app.models import Delivery, TrafficRecord, Webhook
from app.models.columns import Identifier, UTCDateTime, new_id
from app.repositories.base import conflicts_as, table_of, violations_as
from app.repositories.callers import Caller
from app.repositories.compiled import Compiled
from app.repositories.outbox import CHANNEL, notify

records_table = table_of(TrafficRecord)
deliveries_table = table_of(Delivery)
_NOW = bindparam("record_created_at", type_=UTCDateTime)


def add_one(caller: Caller, record: dict[str, Any], digest: str) -> bool:
    """Store and commit a record, and ``digest`` for the webhook of its level where there is one.

    False, and nothing stored, where ``caller`` may not report to its source. Raises TrafficSourceNotFound where the
    source, or a webhook of it, was deleted meanwhile.
    """
    parameters = {f"record_{name}": value for name, value in record.items()}
    parameters |= caller.parameters
    parameters |= {"source_id": record["traffic_source_id"], "delivery_id": new_id(), "digest": digest}
    with violations_as(gone=TrafficSourceNotFound()):
        if db.is_postgresql:
            # A round trip costs as much as the work: it is all one.
            return bool(_one_statement(caller.own_source).execute(parameters))
        return _add_in_turn(caller.own_source, parameters)


def _add_in_turn(own_source: Select[Any], parameters: dict[str, Any]) -> bool:
    add_record, add_delivery = _statements(own_source)
    with db.engine.begin() as connection:
        stored = connection.scalar(add_record, parameters) is not None
        if stored:
            connection.execute(add_delivery, parameters)
        return stored


@cache
def _one_statement(own_source: Select[Any]) -> Compiled:
    own = own_source.cte("own")
    delivery = _insert_delivery(func.greatest, select(own).exists())
    owed = delivery.returning(deliveries_table.c.webhook_id, deliveries_table.c.next_attempt_at).cte("owed")
    # Webhook before pathname, as a deletion of the source locks them: counting is what makes it wait.
    is_owed = select(func.count()).select_from(owed).scalar_subquery() >= 0
    stored = _insert_record(select(own).exists(), is_owed).cte("stored")
    # PostgreSQL lets only one commit at a time notify, so this is for what a dispatcher would not look at anyway:
    # one knows when what is not due will be, and was woken for what waits already.
    waits_already = select(Delivery.id).where(
        Delivery.webhook_id == owed.c.webhook_id, Delivery.state == "pending", Delivery.next_attempt_at <= _NOW
    )
    wake = select(func.pg_notify(CHANNEL, "")).where(owed.c.next_attempt_at <= _NOW, ~waits_already.exists())
    return Compiled(select(stored.c.id, wake.scalar_subquery().label("woken")))


@cache
def _statements(own_source: Select[Any]) -> tuple[Executable, Executable]:
    return _insert_record(own_source.exists()), _insert_delivery(func.max)


def _insert_record(*conditions: ColumnElement[bool]) -> Any:
    columns = records_table.columns
    values = select(*(bindparam(f"record_{column.name}", type_=column.type) for column in columns))
    return insert(records_table).from_select(columns.keys(), values.where(*conditions)).returning(columns.id)


def _insert_delivery(greatest: Any, *conditions: ColumnElement[bool]) -> Any:
    due = greatest(_NOW, func.coalesce(Webhook.next_message_at, _NOW), func.coalesce(Webhook.muted_until, _NOW))
    row = {
        "id": bindparam("delivery_id", type_=Identifier),
        "webhook_id": Webhook.id,
        "state": literal("pending"),
        "event_count": literal(1),
        "attempts": literal(0),
        "digest": bindparam("digest", type_=deliveries_table.c.digest.type),
        "next_attempt_at": case((Webhook.state == "active", due)),
        "created_at": _NOW,
    }
    concerned = Webhook.traffic_source_id == bindparam("source_id", type_=Identifier)
    webhook = select(*row.values()).where(concerned, Webhook.level == bindparam("record_level"), *conditions)
    return insert(deliveries_table).from_select(list(row), webhook)


def find_webhooks(caller: Caller, source_id: str) -> Sequence[Row[*tuple[Any, ...]]] | None:
    """The source's webhooks, as far as reports concern them. None where ``caller`` may not report to the source."""
    own = caller.own_source.subquery()
    query = select(Webhook.level, Webhook.id, Webhook.state, Webhook.next_message_at, Webhook.muted_until).select_from(
        own.outerjoin(Webhook, Webhook.traffic_source_id == own.c[0])
    )
    rows = db.session.execute(query, {**caller.parameters, "source_id": source_id}).all()
    return [row for row in rows if row.id] if rows else None


def add_many(records: Sequence[dict[str, Any]], deliveries: Sequence[dict[str, Any]]) -> None:
    """Records and the deliveries they cause, as column values.

    Raises TrafficSourceNotFound where the source, or a webhook of it, was deleted meanwhile.
    """
    with conflicts_as(gone=TrafficSourceNotFound()):
        # Before the records, as a deletion of the source locks what they refer to.
        if deliveries:
            db.session.execute(insert(deliveries_table), deliveries)
            notify()
        if records and db.is_postgresql:
            _copy(records)
        elif records:
            db.session.execute(insert(records_table), records)


def _copy(records: Sequence[dict[str, Any]]) -> None:
    names = list(records[0])
    statement = SQL("COPY {} ({}) FROM STDIN").format(
        SqlIdentifier(records_table.name), SQL(", ").join(map(SqlIdentifier, names))
    )
    driver = cast(psycopg.Connection[Any], db.session.connection().connection)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for record in records:
            copy.write_row(list(record.values()))
