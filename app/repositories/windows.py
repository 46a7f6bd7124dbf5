"""Reads the series of many sources at once: windows of minutes, failing minutes, and the last minute of each."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Row, func, literal, select, union_all

from app.extensions import db
from app.greenlets import yielding
from app.models import SeriesPoint, TrafficSource
from app.models.series import SPANS
from app.repositories.base import list_room
from app.repositories.series import uncounted
from app.repositories.series_points import Key, stored
from app.repositories.tallies import Tally


class Window(NamedTuple):
    """The minutes of a source from ``start`` to before ``end``, counted from 1970."""

    source_id: str
    start: int
    end: int


def totals(windows: Collection[Window]) -> dict[Window, Tally]:
    """The records of each window. A record counts from its commit on."""
    keys = {key for window in windows for key in _points(window)}
    points, fresh = _read(keys, {window.source_id for window in windows})
    return {window: _total(window, points, fresh[window.source_id]) for window in set(windows)}


def failed_by_minute(source_ids: Collection[str], start: int, end: int) -> dict[str, dict[int, int]]:
    """The fatal records of each source by minute, in the failing ones from ``start`` to before ``end``."""
    fresh = uncounted(source_ids).subquery("fresh")
    # One statement, since a dispatcher may be counting.
    statement = union_all(
        *(
            select(counts.traffic_source_id, counts.minute, counts.fatal).where(
                *conditions, counts.minute >= start, counts.minute < end, counts.fatal > 0
            )
            for counts, conditions in (
                (SeriesPoint, (SeriesPoint.span == 1, SeriesPoint.traffic_source_id.in_(source_ids))),
                (fresh.c, ()),
            )
        )
    )
    failed: dict[str, dict[int, int]] = {source_id: defaultdict(int) for source_id in source_ids}
    with list_room:
        for row in yielding(db.session.execute(statement).yield_per(500)):
            failed[row.traffic_source_id][row.minute] += row.fatal
    return failed


def last_minutes(source_ids: Collection[str]) -> dict[str, int]:
    """The minute of each source's last record; nothing of a source that never reported."""
    point = select(func.max(SeriesPoint.minute)).where(
        SeriesPoint.traffic_source_id == TrafficSource.id, SeriesPoint.span == 1
    )
    counted = select(TrafficSource.id, point.scalar_subquery().label("minute")).where(TrafficSource.id.in_(source_ids))
    fresh = uncounted(source_ids).subquery("fresh")
    # One statement, since a dispatcher may be counting.
    rows = db.session.execute(union_all(counted, select(fresh.c.traffic_source_id, fresh.c.minute))).all()
    last: dict[str, int] = {}
    for source_id, minute in rows:
        if minute is not None:
            last[source_id] = max(minute, last.get(source_id, minute))
    return last


def _points(window: Window) -> Iterator[Key]:
    """The fewest points that together make up the window."""
    minute = window.start
    while minute < window.end:
        span = max(span for span in SPANS if minute % span == 0 and minute + span <= window.end)
        yield Key(window.source_id, span, minute)
        minute += span


def _read(
    keys: Collection[Key], source_ids: Collection[str]
) -> tuple[dict[Key, Row[*tuple[Any, ...]]], dict[str, list[Row[*tuple[Any, ...]]]]]:
    """The points by key, and the records that no point counts by source, in one statement."""
    points = stored(keys).subquery("points")
    fresh = uncounted(source_ids).subquery("fresh")
    names = ("traffic_source_id", "minute", "fatal", "warning", "info", "latencies")
    counted = select(points.c.span, *(points.c[name] for name in names))
    new = select(literal(0), *(fresh.c[name] for name in names))
    by_key: dict[Key, Row[*tuple[Any, ...]]] = {}
    by_source: dict[str, list[Row[*tuple[Any, ...]]]] = defaultdict(list)
    for row in db.session.execute(union_all(counted, new)):
        if row.span:
            by_key[Key(row.traffic_source_id, row.span, row.minute)] = row
        else:
            by_source[row.traffic_source_id].append(row)
    return by_key, by_source


def _total(window: Window, points: dict[Key, Row[*tuple[Any, ...]]], fresh: list[Row[*tuple[Any, ...]]]) -> Tally:
    total = Tally()
    for key in _points(window):
        if key in points:
            total.add(points[key])
    for row in fresh:
        if window.start <= row.minute < window.end:
            total.add(row)
    return total
