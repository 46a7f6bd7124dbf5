"""Reads the series of a source: its records counted over time, also those that are purged or not counted yet."""

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from threading import BoundedSemaphore
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Row, Select, bindparam, case, literal, select, union_all

from app import latencies
from app.extensions import db
from app.greenlets import yielding
from app.models import SeriesPoint, TrafficRecord
from app.models.series import SPANS
from app.repositories import tallies
from app.repositories.base import list_room
from app.repositories.tallies import Tally, counted_to

# Reads of more points wait for each other, so that they leave the room of lists to others.
LONG_POINTS = 10_000
long_room = BoundedSemaphore(1)


class Step(NamedTuple):
    """The records of one step of a series. ``p50`` and ``p95`` are in milliseconds, None if there is no record."""

    at: datetime
    fatal: int
    warning: int
    info: int
    p50: float | None
    p95: float | None


def list_series(source_id: str, start: datetime, end: datetime, step_seconds: int) -> list[Step]:
    """One Step for each period of ``step_seconds``, counted from 1970, that ``start`` to before ``end`` touches.

    ``step_seconds`` is a multiple of 60. A record counts from its commit on.
    """
    first, ends_at = int(start.timestamp()) // step_seconds, -(-int(end.timestamp() * 1000) // (step_seconds * 1000))
    steps = [Tally() for _ in range(first, ends_at)]
    length = step_seconds // 60
    is_long = (ends_at - first) * length > LONG_POINTS * span_of(length)
    with long_room if is_long else nullcontext(), list_room:
        rows = _rows(source_id, first * length, ends_at * length, length)
    for row in yielding(rows):
        steps[row.minute // length - first].add(row)
    return [_step(number * step_seconds, tally) for number, tally in enumerate(steps, first)]


def span_of(length: int) -> int:
    """The longest span of points that makes up a step of ``length`` minutes."""
    return max(span for span in SPANS if length % span == 0)


def _step(at: int, tally: Tally) -> Step:
    p50, p95 = (latencies.percentile(tally.latencies, percent) for percent in (50, 95))
    return Step(datetime.fromtimestamp(at, UTC), tally.fatal, tally.warning, tally.info, p50, p95)


def _rows(source_id: str, start: int, end: int, length: int) -> Sequence[Row[*tuple[Any, ...]]]:
    """Points and records that no point counts, of the minutes from ``start`` to before ``end``.

    One statement reads both, since a dispatcher may be counting.
    """
    span = span_of(length)
    points = select(
        SeriesPoint.minute, SeriesPoint.fatal, SeriesPoint.warning, SeriesPoint.info, SeriesPoint.latencies
    ).where(
        SeriesPoint.traffic_source_id == source_id,
        SeriesPoint.span == span,
        SeriesPoint.minute >= literal(start, BigInteger),
        SeriesPoint.minute < literal(end, BigInteger),
    )
    fresh = uncounted([source_id])
    minute = fresh.selected_columns.minute
    fresh = fresh.where(minute >= literal(start, BigInteger), minute < literal(end, BigInteger))
    shown = fresh.with_only_columns(*(fresh.selected_columns[name] for name in list(points.selected_columns.keys())))
    return db.session.execute(union_all(points, shown)).all()


def uncounted(source_ids: Collection[str]) -> Select[*tuple[Any, ...]]:
    """The records of these sources that no point counts, tallied. Read them in the statement that reads points."""
    # As a literal, it shows the planner that few records are above it.
    counted = bindparam("counted", db.session.scalar(select(counted_to)), BigInteger, literal_execute=True)
    # CASE hides the sources from the planner, which else would choose to read all of their records.
    of_sources = case((TrafficRecord.traffic_source_id.in_(source_ids), 1), else_=0) == 1
    new = tallies.records().where(TrafficRecord.arrival > counted, TrafficRecord.arrival > counted_to, of_sources)
    return tallies.tallied(new)
