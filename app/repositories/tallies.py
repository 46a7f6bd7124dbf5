"""Tallies: records counted by source, minute, level and latency, in rows with the same names as series points."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Integer, Row, Select, Text, case, cast, func, literal_column, select

from app import latencies
from app.extensions import db
from app.models import SeriesPosition, TrafficRecord
from app.models.traffic import LEVELS

BOUNDS: ColumnElement[Any] = literal_column(f"'{{{','.join(map(repr, latencies.BOUNDS))}}}'::float8[]")
counted_to = select(func.coalesce(func.max(SeriesPosition.counted_to), 0)).scalar_subquery()


@dataclass
class Tally:
    """Records counted by level and by bucket of their latency."""

    fatal: int = 0
    warning: int = 0
    info: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, row: Row[*tuple[Any, ...]]) -> None:
        self.fatal += row.fatal
        self.warning += row.warning
        self.info += row.info
        latencies.add_json(self.latencies, row.latencies)

    def as_row(self) -> dict[str, Any]:
        levels = {"fatal": self.fatal, "warning": self.warning, "info": self.info}
        return {**levels, "latencies": latencies.dumps(self.latencies)}


def records() -> Select[*tuple[Any, ...]]:
    """Records with their minute, counted from 1970, and the bucket of their latency."""
    elapsed = TrafficRecord.elapsed_time
    bucket = func.width_bucket(elapsed, BOUNDS) if db.is_postgresql else func.latency_bucket(elapsed)
    return select(
        TrafficRecord.traffic_source_id,
        TrafficRecord.level,
        TrafficRecord.arrival,
        minute_of(TrafficRecord.created_at).label("minute"),
        bucket.label("bucket"),
    )


def minute_of(at: Any) -> ColumnElement[int]:
    """The minute of a column of times, counted from 1970."""
    if db.is_postgresql:
        return cast(func.floor(func.extract("epoch", at) / 60), Integer)
    return cast(func.strftime("%s", at), Integer) // 60


def tallied(records: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """``records`` counted by source, minute and bucket, with their ``number`` and ``last_arrival``."""
    read = records.subquery("read")
    levels = [func.sum(case((read.c.level == level, 1), else_=0)).label(level) for level in LEVELS]
    pair: ColumnElement[Any] = cast(read.c.bucket, Text) + literal_column("','") + cast(func.count(), Text)
    return select(
        read.c.traffic_source_id,
        read.c.minute,
        *levels,
        (literal_column("'['") + pair + literal_column("']'")).label("latencies"),
        func.count().label("number"),
        func.max(read.c.arrival).label("last_arrival"),
    ).group_by(read.c.traffic_source_id, read.c.minute, read.c.bucket)
