"""Storing what is reported: the records, and what is owed to webhooks for them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, cast

import psycopg
from psycopg.sql import SQL
from psycopg.sql import Identifier as SqlIdentifier
from sqlalchemy import ColumnElement, Executable, Select, bindparam, func, insert, literal, or_, select

from app.digests import Digest
from app.errors import PlaceRemoved
from app.extensions import db
from app.models import Delivery, TrafficRecord, Webhook
from app.models.columns import Identifier, UTCDateTime, new_id
from app.repositories.access import Caller
from app.repositories.base import conflicts_as, table_of, violations_as
from app.repositories.outbox import NOTIFY_CHANNEL, PENDING, put, wake_dispatchers
from app.repositories.statements import Compiled

records_table = table_of(TrafficRecord)
deliveries_table = table_of(Delivery)
_NOW = bindparam("record_created_at", type_=UTCDateTime)


def add_one(caller: Caller, record: dict[str, Any], digest: str) -> bool:
    """Store and commit a record, and ``digest`` for the webhook of its level where there is one.

    False, and nothing stored, where ``caller`` may not report to its source. Raises PlaceRemoved where its pathname was
    removed meanwhile.
    """
    parameters = {f"record_{name}": value for name, value in record.items()}
    parameters |= caller.parameters
    parameters |= {"source_id": record["traffic_source_id"], "delivery_id": new_id(), "digest": digest}
    with violations_as(gone=PlaceRemoved()):
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
    owed = _insert_delivery(select(own).exists()).returning(deliveries_table.c.webhook_id).cte("owed")
    stored = _insert_record(select(own).exists()).cte("stored")
    # NOTIFY serialises commits, so send it only when needed: not for a webhook that may not send yet (dispatchers keep
    # a timer), not when an earlier delivery of it has woken them already.
    waits_already = select(Delivery.id).where(
        Delivery.webhook_id == owed.c.webhook_id, Delivery.state == PENDING, Delivery.nonce.is_(None)
    )
    may_send = select(Webhook.id).where(
        Webhook.id == owed.c.webhook_id,
        Webhook.state == "active",
        or_(Webhook.muted_until.is_(None), Webhook.muted_until <= func.now()),
        or_(Webhook.next_message_at.is_(None), Webhook.next_message_at <= func.now()),
    )
    wake = select(func.pg_notify(NOTIFY_CHANNEL, "")).where(may_send.exists(), ~waits_already.exists())
    return Compiled(select(stored.c.id, wake.scalar_subquery().label("woken")))


@cache
def _statements(own_source: Select[Any]) -> tuple[Executable, Executable]:
    return _insert_record(own_source.exists()), _insert_delivery()


def _insert_record(*conditions: ColumnElement[bool]) -> Any:
    columns = records_table.columns
    values = select(*(bindparam(f"record_{column.name}", type_=column.type) for column in columns))
    return insert(records_table).from_select(columns.keys(), values.where(*conditions)).returning(columns.id)


def _insert_delivery(*conditions: ColumnElement[bool]) -> Any:
    """The row that ``outbox.put`` makes, of parameters and within a statement of more."""
    row = {
        "id": bindparam("delivery_id", type_=Identifier),
        "webhook_id": Webhook.id,
        "state": literal("pending"),
        "event_count": literal(1),
        "attempts": literal(0),
        "digest": bindparam("digest", type_=deliveries_table.c.digest.type),
        "next_attempt_at": _NOW,
        "created_at": _NOW,
    }
    concerned = Webhook.traffic_source_id == bindparam("source_id", type_=Identifier)
    webhook = select(*row.values()).where(concerned, Webhook.level == bindparam("record_level"), *conditions)
    return insert(deliveries_table).from_select(list(row), webhook)


def find_webhooks(caller: Caller, source_id: str) -> dict[str, str] | None:
    """The ids of the source's webhooks, by level. None where ``caller`` may not report to the source."""
    own = caller.own_source.subquery()
    query = select(Webhook.level, Webhook.id).select_from(own.outerjoin(Webhook, Webhook.traffic_source_id == own.c[0]))
    rows = db.session.execute(query, {**caller.parameters, "source_id": source_id}).all()
    return {row.level: row.id for row in rows if row.id} if rows else None


def add_many(records: Sequence[dict[str, Any]], digests: Mapping[str, Digest], now: datetime) -> None:
    """Records, and what is owed for them to webhooks, by id. Does not commit.

    Raises PlaceRemoved where a domain or pathname of theirs was removed meanwhile.
    """
    with conflicts_as(gone=PlaceRemoved()):
        for webhook_id, digest in sorted(digests.items()):
            put(webhook_id, digest, now)
        if digests:
            wake_dispatchers()
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
