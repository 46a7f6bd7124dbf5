"""Finds the ``arrival`` up to which all records are committed: a record takes its arrival before it commits."""

from collections.abc import Set
from typing import NamedTuple, cast

from sqlalchemy import func, select, text

from app.extensions import db
from app.models import TrafficRecord

LAST_ARRIVAL = text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM http_traffic_records_arrival_seq")
# A transaction takes this lock on the table before it takes an arrival, and keeps it until its rows can be seen.
WRITERS = text("""
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND relation = 'http_traffic_records'::regclass
""")


class Horizon(NamedTuple):
    """No record will still appear up to ``arrival``, once the transactions ``writers`` are over."""

    arrival: int
    writers: Set[str]


def horizon() -> Horizon:
    """The last arrival that was given out. Call it before the transaction writes records."""
    if not db.is_postgresql:
        # SQLite has one writer.
        return Horizon(db.session.scalar(select(func.max(TrafficRecord.arrival))) or 0, frozenset())
    last = cast(int, db.session.scalar(LAST_ARRIVAL))
    # Not in the same statement: these must be read after the arrival.
    return Horizon(last, _writers())


def is_complete(horizon: Horizon) -> bool:
    """Whether all of the horizon's writers are over."""
    return not horizon.writers or horizon.writers.isdisjoint(_writers())


def _writers() -> Set[str]:
    return frozenset(db.session.scalars(WRITERS))
