"""Seeds the databases before measurements."""

import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import uuid_utils
from sqlalchemy import Connection, Engine, Table, func, insert, select, text

from app.digests import Digest, Event, level_of, to_milliseconds
from app.extensions import Base
from app.models import (
    Delivery,
    DeliveryAttempt,
    Domain,
    Pathname,
    TrafficRecord,
    TrafficSource,
    User,
    Webhook,
)
from app.models.columns import new_id, utcnow
from app.models.traffic import LEVELS

# Records of the full database are spread evenly over these sources, paths and this period.
REPORTING_SOURCES = 1000
PATHS = 50
PERIOD = timedelta(days=10)
STATUSES = (200, 200, 200, 200, 201, 204, 302, 404, 500, 503)
BATCH_SIZE = 10_000
# Unused channel ids.
channels = itertools.count(10**17)

Row = dict[str, Any]


def insert_all(connection: Connection, model: type[Base], rows: Iterable[Row]) -> None:
    """Insert ``rows`` in batches. Missing columns get the model's defaults."""
    rows = iter(rows)
    while batch := list(itertools.islice(rows, BATCH_SIZE)):
        connection.execute(insert(cast(Table, model.__table__)), batch)


def source_row(user_id: str, now: datetime | None = None) -> Row:
    id, now = new_id(), now or utcnow()
    domain = f"api-{id}.payments.com"
    values = {"name": "Payments API", "traffic_domain": domain, "user_id": user_id}
    return {"id": id, **values, "created_at": now, "updated_at": now}


def add_sources(engine: Engine, user_id: str, count: int) -> list[str]:
    """Add traffic sources without webhooks. Returns their ids."""
    rows = [source_row(user_id) for _ in range(count)]
    with engine.begin() as connection:
        insert_all(connection, TrafficSource, rows)
    return [row["id"] for row in rows]


def webhook_row(source_id: str, level: str, channel: int, now: datetime) -> Row:
    return {
        "id": new_id(),
        "type": "discord",
        "level": level,
        "value_template": str(channel),
        "destination_id": f"channels/{channel}",
        "traffic_source_id": source_id,
        "created_at": now,
        "updated_at": now,
    }


def add_webhooks(engine: Engine, source_ids: Iterable[str], levels: Iterable[str]) -> list[Row]:
    """Add webhooks of ``levels`` to each source, each for a new channel."""
    now = utcnow()
    rows = [
        webhook_row(id, level, channel, now)
        for (id, level), channel in zip(itertools.product(source_ids, levels), channels, strict=False)
    ]
    with engine.begin() as connection:
        insert_all(connection, Webhook, rows)
    return rows


def add_records(engine: Engine, source_id: str, count: int) -> None:
    with engine.begin() as connection:
        pathnames = add_pathnames(connection, [source_id])
        insert_all(connection, TrafficRecord, itertools.islice(_records(pathnames, utcnow(), count), count))
    tidy(engine)


def add_backlog(engine: Engine, user_id: str, destinations: int, messages: int) -> None:
    """Add one pending delivery for each of ``messages`` webhooks, which share ``destinations`` channels."""
    now = utcnow()
    shared = [next(channels) for _ in range(destinations)]
    sources = add_sources(engine, user_id, messages)
    webhooks = [
        webhook_row(id, "fatal", channel, now) for id, channel in zip(sources, itertools.cycle(shared), strict=False)
    ]
    with engine.begin() as connection:
        insert_all(connection, Webhook, webhooks)
        pending = ({**_delivery_row(row["id"], now), "next_attempt_at": now} for row in webhooks)
        insert_all(connection, Delivery, pending)


def count_open(engine: Engine) -> int:
    """The number of deliveries that are not settled."""
    with engine.connect() as connection:
        query = select(func.count()).where(Delivery.state.in_(["pending", "delivering"]))
        return connection.scalar(query) or 0


def fill(engine: Engine, records: int) -> None:
    """Add ``records`` records, a tenth as many webhooks, and as many settled deliveries, of a thousand users."""
    now = utcnow()
    with engine.begin() as connection:
        users = [_user_row(number, now) for number in range(1000)]
        insert_all(connection, User, users)
        owners = itertools.cycle(user["id"] for user in users)
        sources = [source_row(next(owners), now) for _ in range(records // 10 // len(LEVELS) + 1)]
        insert_all(connection, TrafficSource, sources)
    ids = [source["id"] for source in sources]
    webhooks = add_webhooks(engine, ids, LEVELS)
    with engine.begin() as connection:
        _add_delivered(connection, [row["id"] for row in webhooks], now)
        pathnames = add_pathnames(connection, ids[:REPORTING_SOURCES])
        insert_all(connection, TrafficRecord, _records(pathnames, now, records))
    tidy(engine)


def tidy(engine: Engine) -> None:
    """Vacuum, analyse and checkpoint now, so that the database does not do it during a measurement."""
    commands = {
        "postgresql": ["VACUUM ANALYZE", "CHECKPOINT"],
        "sqlite": ["ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"],
    }
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for command in commands[engine.dialect.name]:
            connection.execute(text(command))


def _user_row(number: int, now: datetime) -> Row:
    email = f"somebody{number}@example.com"
    return {
        "id": new_id(),
        "name": "Somebody",
        "email": email,
        "password_hash": "-",
        "created_at": now,
        "updated_at": now,
    }


def _add_delivered(connection: Connection, webhook_ids: list[str], now: datetime) -> None:
    deliveries = [_delivered_row(id, now) for id in webhook_ids]
    insert_all(connection, Delivery, deliveries)
    attempts = ({"delivery_id": row["id"], "at": now, "outcome": "delivered", "status": 200} for row in deliveries)
    insert_all(connection, DeliveryAttempt, attempts)


def _delivery_row(webhook_id: str, now: datetime) -> Row:
    at = to_milliseconds(now)
    digest = Digest.of([Event("get", "api.payments.com", "/orders/123", 500, at, 12.5, new_id())])
    return {"id": new_id(), "webhook_id": webhook_id, "digest": digest.dumps(), "created_at": now}


def _delivered_row(webhook_id: str, now: datetime) -> Row:
    settled = {"state": "delivered", "nonce": new_id()[:25], "attempts": 1, "message_id": "1" * 19, "delivered_at": now}
    return _delivery_row(webhook_id, now) | settled


def add_pathnames(connection: Connection, source_ids: list[str]) -> list[tuple[str, str]]:
    """Add PATHS pathnames on one domain per source. Returns pairs of source and pathname ids."""
    domains = [
        {"id": new_id(), "value": "api.payments.com", "protocol": "https", "traffic_source_id": id} for id in source_ids
    ]
    insert_all(connection, Domain, domains)
    pathnames = [
        (domain["traffic_source_id"], {"id": new_id(), "value": f"/orders/{number}", "domain_id": domain["id"]})
        for number in range(PATHS)
        for domain in domains
    ]
    insert_all(connection, Pathname, (row for _, row in pathnames))
    return [(source_id, row["id"]) for source_id, row in pathnames]


def _records(pathnames: list[tuple[str, str]], now: datetime, count: int) -> Iterator[Row]:
    """``count`` records, oldest first, spread evenly over ``pathnames`` and over PERIOD before ``now``."""
    step = PERIOD / count
    began = now - PERIOD
    spread = zip(itertools.cycle(pathnames), itertools.cycle(STATUSES), strict=False)
    for number, ((source_id, pathname_id), status) in zip(range(count), spread, strict=False):
        at = began + number * step
        yield {
            "id": str(uuid_utils.uuid7(nanoseconds=int(at.timestamp() * 1e9))),
            "traffic_source_id": source_id,
            "pathname_id": pathname_id,
            "status": status,
            "level": level_of(status),
            "protocol": "https",
            "method": "get",
            "elapsed_time": number % 997,
            "request_headers": '{"accept": "application/json"}',
            "request_body": "",
            "query_params": '{"page": "1"}',
            "response_headers": '{"content-type": "application/json"}',
            "response_body": "",
            "created_at": at.astimezone(UTC),
        }
