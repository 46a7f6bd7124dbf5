"""Reads the latest of sources: their state, their webhooks, and their requests with paths."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Float, Integer, String, select

from app.extensions import db
from app.models import TrafficRecord, TrafficSource, Webhook
from app.models.columns import Identifier, first_id_at
from app.models.traffic import LEVELS
from app.repositories.statements import Statement


@dataclass(frozen=True)
class SourceState:
    """The webhooks of a source, most severe level first, and the time of its latest record."""

    webhooks: list[Webhook]
    last_at: datetime | None


class Request(NamedTuple):
    method: str
    pathname: str
    level: str
    elapsed_time: float
    status: int


def webhooks_of(source_id: str) -> list[Webhook]:
    """The source's webhooks, most severe level first."""
    return _by_level(db.session.scalars(select(Webhook).where(Webhook.traffic_source_id == source_id)).all())


def states_of(source_ids: Sequence[str]) -> dict[str, SourceState]:
    """The states of sources, in two statements."""
    found = db.session.scalars(select(Webhook).where(Webhook.traffic_source_id.in_(source_ids))).all()
    # One look into the index for each source; an aggregate would read all records.
    latest = (
        select(TrafficRecord.id)
        .where(TrafficRecord.traffic_source_id == TrafficSource.id)
        .order_by(TrafficRecord.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    last = db.session.execute(select(TrafficSource.id, latest).where(TrafficSource.id.in_(source_ids))).all()
    return {
        source_id: SourceState(
            _by_level([webhook for webhook in found if webhook.traffic_source_id == source_id]), made_at(record_id)
        )
        for source_id, record_id in last
    }


def made_at(record_id: str | None) -> datetime | None:
    """The time that an identifier begins with."""
    if record_id is None:
        return None
    return datetime.fromtimestamp(int(record_id[:13].replace("-", ""), 16) / 1000, UTC)


def list_requests(source_id: str, since: datetime, end: datetime, most: int) -> list[Request]:
    """Up to ``most`` requests from ``since`` to before ``end``, newest first."""
    values = {"source_id": source_id, "since": first_id_at(since), "end": first_id_at(end), "most": most}
    rows = _requests().run(values)
    return [Request(**row) for row in rows]


@cache
def _requests() -> Statement:
    sql = """
    SELECT seen.method, seen.level, pathnames.value AS pathname, seen.elapsed_time, seen.status FROM (
        SELECT id, method, level, elapsed_time, status, pathname_id FROM http_traffic_records
        WHERE traffic_source_id = :source_id AND id >= :since AND id < :end ORDER BY id DESC LIMIT :most
    ) AS seen JOIN pathnames ON pathnames.id = seen.pathname_id ORDER BY seen.id DESC
    """
    texts = dict.fromkeys(("method", "level", "pathname"), String())
    columns: dict[str, Any] = {**texts, "elapsed_time": Float(), "status": Integer()}
    parameters = {**dict.fromkeys(("source_id", "since", "end"), Identifier), "most": BigInteger()}
    return Statement(sql, parameters, columns)


def _by_level(webhooks: Sequence[Webhook]) -> list[Webhook]:
    return sorted(webhooks, key=lambda webhook: LEVELS.index(webhook.level))
