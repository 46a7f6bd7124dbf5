"""Stores reports: their records, domains and pathnames, and the deliveries they cause."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

import psycopg
import psycopg.sql
from sqlalchemy import Row, SmallInteger, Text, insert, select, tuple_
from sqlalchemy.exc import DBAPIError

from app.digests import Digest, Event, to_milliseconds
from app.errors import TrafficSourceChanged, TrafficSourceNotFound
from app.extensions import Base, db
from app.greenlets import yielding
from app.models import Domain, Pathname, TrafficRecord, Webhook
from app.models.columns import Identifier, UTCDateTime, new_id
from app.policies import is_ignored
from app.repositories import access, outbox, policies, traffic
from app.repositories.access import Caller
from app.repositories.base import begin_writing, insert_ignoring_conflicts, table_of, violations_as
from app.repositories.statements import Statement

STORE_REPORT = (Path(__file__).parent / "sql" / "store_report.sql").read_text()
# Attempts to store a report while concurrent requests create or delete its domain or pathname.
TRIES = 5
records_table = table_of(TrafficRecord)


class Place(NamedTuple):
    """Protocol, host and path of a reported request."""

    protocol: str
    host: str
    path: str


class PlaceIds(TypedDict):
    domain_id: str
    pathname_id: str


class Stored(NamedTuple):
    """A record as lists show it. ``is_repeated``: an earlier report with the same ``report_id`` stored it."""

    record: dict[str, Any]
    is_repeated: bool = False


class Report(NamedTuple):
    """A report ready to be stored. ``record`` holds all column values except ``pathname_id`` and ``arrival``."""

    place: Place
    record: dict[str, Any]

    @property
    def event(self) -> Event:
        record, place = self.record, self.place
        at = to_milliseconds(record["created_at"])
        return Event(
            record["method"], place.host, place.path, record["status"], at, record["elapsed_time"], record["id"]
        )


def store_one_and_commit(caller: Caller, report: Report, now: datetime) -> Stored:
    """Store a report and, if its source has a webhook for its level, put a delivery.

    PostgreSQL takes one statement, which is five times as fast as a batch of one; SQLite stores such a batch.

    Raises InvalidToken, TrafficSourceNotFound, NotYours, TrafficSourceChanged.
    """
    source_id, report_id = report.record["traffic_source_id"], report.record["report_id"]
    if not db.is_postgresql:
        access.check_reporter(caller, source_id)
        for record in store_many_and_commit(source_id, [report], now):
            return Stored(record)
        return Stored(traffic.get_reported(source_id, report_id) or {}, is_repeated=True)
    protocol, host, path = report.place
    values = {
        **caller.values_for(source_id),
        **report.record,
        "domain_protocol": protocol,
        "host": host,
        "path": path,
        "now": now,
    }
    values |= {"source_id": source_id, "new_domain_id": new_id(), "new_pathname_id": new_id()}
    values |= outbox.put_values(Digest.of([report.event]), now) | {"slot": policies.slot()}
    for _ in range(TRIES):
        try:
            if rows := _store_report(caller.authenticated).run(values):
                return Stored(report.record | rows[0])
        except psycopg.errors.ForeignKeyViolation:
            pass  # The pathname was purged with its last record meanwhile.
        access.check_reporter(caller, source_id)
        if report_id and (earlier := traffic.get_reported(source_id, report_id)):
            return Stored(earlier, is_repeated=True)
    raise TrafficSourceChanged


@cache
def _store_report(authenticated: str) -> Statement:
    columns = [column for column in records_table.columns if column.name not in ("pathname_id", "arrival")]
    concerned = "webhooks.traffic_source_id = :source_id AND webhooks.level = :level AND EXISTS (SELECT FROM record)"
    sql = STORE_REPORT.format(
        access=access.query(authenticated),
        columns=", ".join(column.name for column in columns),
        values=", ".join(f":{column.name}" for column in columns),
        put=outbox.put_sql(f"{concerned} AND NOT ({policies.IGNORED})"),
        count_ignored=policies.count_sql(
            f"SELECT webhooks.id, :slot, 1, 0 FROM webhooks WHERE {concerned} AND NOT EXISTS (SELECT FROM delivery)"  # noqa: S608 # nosec B608
        ),
        wake=outbox.WAKE,
    )
    parameters: dict[str, Any] = {"now": UTCDateTime(), "source_id": Identifier}
    parameters |= {"new_domain_id": Identifier, "new_pathname_id": Identifier}
    parameters |= {column.name: column.type for column in columns} | outbox.PUT_TYPES | {"slot": SmallInteger()}
    result = {"domain_id": Identifier, "pathname_id": Identifier, "woken": Text()}
    return Statement(sql, access.PARAMETERS | parameters, result)


def store_many_and_commit(source_id: str, reports: Sequence[Report], now: datetime) -> list[dict[str, Any]]:
    """Store reports and put one delivery for each of the source's webhooks that they concern.

    Returns the stored records as lists show them, without those whose ``report_id`` is known. Raises
    TrafficSourceNotFound, TrafficSourceChanged.
    """
    webhooks = _webhooks(source_id)
    db.session.commit()  # Judging takes long, and needs no connection.
    ignored = _ignored(webhooks, reports)
    for _ in range(TRIES):
        try:
            stored = _store_many(source_id, reports, ignored, now)
            db.session.commit()
            return stored
        except (DBAPIError, psycopg.Error) as error:
            db.session.rollback()
            if not _is_race(error):
                raise
    raise TrafficSourceChanged


def _is_race(error: Exception) -> bool:
    """Whether a concurrent request stored the same report ids, or created or deleted the same places."""
    cause = getattr(error, "orig", error)
    return isinstance(cause, psycopg.errors.UniqueViolation | psycopg.errors.DeadlockDetected)


def _ignored(webhooks: Sequence[Row[str, str, list[Any] | None]], reports: Sequence[Report]) -> dict[str, set[str]]:
    """By webhook, the ids of the records whose events its policy ignores.

    Hostile rules and paths take long, so this lets other requests run.
    """
    return {
        webhook.id: {
            report.record["id"]
            for report in yielding(reports)
            if report.record["level"] == webhook.level
            and is_ignored(webhook.ignore_rules, report.record["method"], report.place.path, report.record["status"])
        }
        for webhook in webhooks
        if webhook.ignore_rules
    }


def _store_many(
    source_id: str, reports: Sequence[Report], ignored: dict[str, set[str]], now: datetime
) -> list[dict[str, Any]]:
    begin_writing()
    reports = _without_repeated(source_id, reports)
    counts = _put_deliveries(source_id, reports, ignored, now)
    with violations_as(gone=TrafficSourceNotFound()):
        ids = _find_or_add_places(source_id, {report.place for report in reports}, now)
    stored = [report.record | ids[report.place] for report in reports]
    # In the order of the index, so that batches with the same ids wait for each other instead of deadlocking.
    _insert(sorted(stored, key=lambda record: record["report_id"] or ""))
    for webhook_id, number in counts.items():
        policies.count(webhook_id, ignored=number)
    return stored


def _put_deliveries(
    source_id: str, reports: Sequence[Report], ignored: dict[str, set[str]], now: datetime
) -> dict[str, int]:
    """Put a delivery for each webhook that the reports concern. Returns how many events each one's policy ignores."""
    counts: dict[str, int] = {}
    for webhook in _webhooks(source_id):
        left_out = ignored.get(webhook.id, set())
        concerned = [report for report in reports if report.record["level"] == webhook.level]
        events = [report.event for report in concerned if report.record["id"] not in left_out]
        if events:
            outbox.put(webhook.id, Digest.of(events), now)
            outbox.wake_dispatchers()
        if len(events) < len(concerned):
            counts[webhook.id] = len(concerned) - len(events)
    return counts


def _without_repeated(source_id: str, reports: Sequence[Report]) -> Sequence[Report]:
    """The reports whose ``report_id`` is neither stored nor in an earlier report of this batch."""
    ids = {report.record["report_id"] for report in reports} - {None}
    if not ids:
        return reports
    known = select(TrafficRecord.report_id).where(
        TrafficRecord.traffic_source_id == source_id, TrafficRecord.report_id.in_(ids)
    )
    unseen = ids - set(db.session.scalars(known))
    fresh = []
    for report in reports:
        report_id = report.record["report_id"]
        if report_id is None or report_id in unseen:
            unseen.discard(report_id)
            fresh.append(report)
    return fresh


def _webhooks(source_id: str) -> Sequence[Row[str, str, list[Any] | None]]:
    """The source's webhooks, in the order in which they are locked."""
    query = select(Webhook.id, Webhook.level, Webhook.ignore_rules).where(Webhook.traffic_source_id == source_id)
    return db.session.execute(query.order_by(Webhook.id)).all()


def _find_or_add_places(source_id: str, wanted: set[Place], now: datetime) -> dict[Place, PlaceIds]:
    """The domain and pathname of each place, created if missing, and locked against deletion."""
    for _ in range(TRIES):
        domain_ids = _find_domains(source_id, wanted)
        found = _find_pathnames(domain_ids, wanted)
        missing = sorted(wanted - found.keys())
        if not missing:
            return found
        hosts = sorted({place[:2] for place in missing} - domain_ids.keys())
        new = ({"traffic_source_id": source_id, "protocol": protocol, "value": host} for protocol, host in hosts)
        _insert_missing(Domain, new, now)
        domain_ids |= _find_domains(source_id, missing)
        paths = ((domain_ids.get(place[:2]), place.path) for place in missing)
        _insert_missing(Pathname, ({"domain_id": id, "value": path} for id, path in paths if id), now)
    raise TrafficSourceChanged


def _find_domains(source_id: str, places: Iterable[Place]) -> dict[tuple[str, str], str]:
    domains = select(Domain.id, Domain.protocol, Domain.value).where(
        Domain.traffic_source_id == source_id, Domain.value.in_({place.host for place in places})
    )
    rows = db.session.execute(domains.with_for_update(read=True, key_share=True))
    return {(row.protocol, row.value): row.id for row in rows}


def _find_pathnames(domain_ids: dict[tuple[str, str], str], places: Iterable[Place]) -> dict[Place, PlaceIds]:
    keys = {(domain_ids[place[:2]], place.path): place for place in places if place[:2] in domain_ids}
    pathnames = select(Pathname.id, Pathname.domain_id, Pathname.value).where(
        tuple_(Pathname.domain_id, Pathname.value).in_(sorted(keys))
    )
    rows = db.session.execute(pathnames.with_for_update(read=True, key_share=True)) if keys else ()
    return {keys[row.domain_id, row.value]: PlaceIds(domain_id=row.domain_id, pathname_id=row.id) for row in rows}


def _insert_missing(model: type[Base], rows: Iterable[dict[str, Any]], now: datetime) -> None:
    if stamped := [row | {"id": new_id(), "created_at": now} for row in rows]:
        db.session.execute(insert_ignoring_conflicts(table_of(model)), stamped)


def _insert(records: Sequence[dict[str, Any]]) -> None:
    names = [column.name for column in records_table.columns if column.name != "arrival"]
    values = map(itemgetter(*names), records)
    if records and db.is_postgresql:
        _copy(names, values)
    elif records:
        db.session.execute(insert(records_table), [dict(zip(names, each, strict=True)) for each in values])


def _copy(names: Sequence[str], values: Iterable[tuple[Any, ...]]) -> None:
    """Insert records by COPY, which is several times as fast as INSERT."""
    statement = psycopg.sql.SQL("COPY {} ({}) FROM STDIN").format(
        psycopg.sql.Identifier(records_table.name), psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, names))
    )
    connection = db.session.connection()
    driver = cast(psycopg.Connection[Any], connection.connection.driver_connection)
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for each in values:
                copy.write_row(each)
    except psycopg.Error:
        if driver.closed:
            connection.invalidate()  # SQLAlchemy does not see the errors of COPY.
        raise
