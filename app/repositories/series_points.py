"""Counts records in series points, and purges points. Each writer of points holds the lock of the position."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Row, TextClause, TextualSelect, delete, select, text, tuple_, update

from app.extensions import db
from app.models import SeriesPoint, SeriesPosition, TrafficRecord, TrafficSource
from app.models.columns import minute_at
from app.models.series import SPANS
from app.repositories import tallies
from app.repositories.base import begin_writing, insert_ignoring_conflicts, table_of, unsynchronized
from app.repositories.tallies import Tally

points_table = table_of(SeriesPoint)


class Key(NamedTuple):
    """The primary key of a SeriesPoint."""

    traffic_source_id: str
    span: int
    minute: int


KEY = [points_table.c[name] for name in Key._fields]

POSTGRESQL = {"rows": "json_array_elements(CAST(:rows AS json)) AS given", "id": "CAST(value ->> 0 AS uuid)"}
SQLITE = {"rows": "json_each(:rows) AS given", "id": "value ->> 0"}
STORED = """
    SELECT points.* FROM {rows} JOIN series_points AS points ON traffic_source_id = {id}
    AND span = CAST(value ->> 1 AS smallint) AND minute = CAST(value ->> 2 AS integer)
"""
# Overwrites, since the points were read under the lock.
STORE = """
    INSERT INTO series_points (traffic_source_id, span, minute, fatal, warning, info, latencies)
    SELECT {id}, CAST(value ->> 1 AS smallint), CAST(value ->> 2 AS integer), CAST(value ->> 3 AS integer),
    CAST(value ->> 4 AS integer), CAST(value ->> 5 AS integer), value ->> 6 FROM {rows} WHERE TRUE
    ON CONFLICT (traffic_source_id, span, minute) DO UPDATE SET
    fatal = excluded.fatal, warning = excluded.warning, info = excluded.info, latencies = excluded.latencies
"""


def lock_position(wait: bool = False) -> int | None:
    """Lock the position until the transaction ends. Returns ``counted_to``; None if another process has the lock.

    With ``wait``, waits for the lock.
    """
    begin_writing()
    position = select(SeriesPosition.counted_to).with_for_update(skip_locked=not wait)
    locked = db.session.scalar(position)
    # Inserting beside an existing row would wait for the lock.
    if locked is None and db.session.scalar(select(SeriesPosition.id)) is None:
        db.session.execute(insert_ignoring_conflicts(SeriesPosition).values(id=1, counted_to=0))
        locked = db.session.scalar(position)
    return locked


def count(after: int, up_to: int, most: int) -> int:
    """Count up to ``most`` records that arrived above ``after`` and up to ``up_to``, and move the position.

    Returns their number; if it is below ``most``, all are counted.
    """
    new = tallies.records().where(TrafficRecord.arrival > after, TrafficRecord.arrival <= up_to)
    rows = db.session.execute(tallies.tallied(new.order_by(TrafficRecord.arrival).limit(most))).all()
    _add(rows)
    number: int = sum(row.number for row in rows)
    last = max(row.last_arrival for row in rows) if number == most else up_to
    unsynchronized(update(SeriesPosition).values(counted_to=last))
    return number


def count_record(record_id: str) -> None:
    """Count a record, if it is not counted yet, before this transaction deletes it."""
    arrival = db.session.scalar(select(TrafficRecord.arrival).where(TrafficRecord.id == record_id))
    if arrival is None or arrival <= (db.session.scalar(select(SeriesPosition.counted_to)) or 0):
        return
    counted_to = lock_position(wait=True) or 0
    record = tallies.records().where(TrafficRecord.id == record_id, TrafficRecord.arrival > counted_to)
    _add(db.session.execute(tallies.tallied(record)).all())


def _add(rows: Sequence[Row[*tuple[Any, ...]]]) -> None:
    added: defaultdict[Key, Tally] = defaultdict(Tally)
    there = _existing_sources({row.traffic_source_id for row in rows})
    for row in rows:
        for span in SPANS if row.traffic_source_id in there else ():
            added[Key(row.traffic_source_id, span, row.minute - row.minute % span)].add(row)
    if not added:
        return
    for point in _read_stored(added):
        added[Key(point.traffic_source_id, point.span, point.minute)].add(point)
    points = ([*key, *tally.as_row().values()] for key, tally in added.items())
    db.session.execute(_sql(STORE), {"rows": _json(points)})


def _existing_sources(ids: Iterable[str]) -> set[str]:
    sources = select(TrafficSource.id).where(TrafficSource.id.in_(ids), TrafficSource.user_id.is_not(None))
    return set(db.session.scalars(sources))


def _read_stored(keys: Iterable[Key]) -> Sequence[Row[*tuple[Any, ...]]]:
    return db.session.execute(stored(keys)).all()


def stored(keys: Iterable[Key]) -> TextualSelect:
    """Selects the points that have these keys."""
    return _sql(STORED).bindparams(rows=_json(list(key) for key in keys)).columns(*points_table.columns)


def _sql(template: str) -> TextClause:
    return text(template.format(**(POSTGRESQL if db.is_postgresql else SQLITE)))


def _json(rows: Iterable[list[Any]]) -> str:
    """``rows``, whose first value is an identifier, as one parameter: thousands of them take ten times as long."""
    return orjson.dumps([[id.replace("-", ""), *others] for id, *others in rows]).decode()


def purge(before: datetime, most: int) -> int:
    """Delete up to ``most`` points that are older than ``before``. Returns their number."""
    if lock_position() is None:
        return 0
    return _delete(SeriesPoint.minute < minute_at(before), most)


def purge_of(source_ids: Sequence[str], most: int) -> int:
    """Delete up to ``most`` points of deleted sources, under ``lock_position``. Returns their number."""
    return _delete(SeriesPoint.traffic_source_id.in_(source_ids), most)


def _delete(condition: ColumnElement[bool], most: int) -> int:
    doomed = select(*KEY).where(condition).limit(most)
    return unsynchronized(delete(SeriesPoint).where(tuple_(*KEY).in_(doomed)))
