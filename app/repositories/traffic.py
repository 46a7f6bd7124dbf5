"""What was reported, as users look at it."""

from dataclasses import replace
from datetime import datetime
from operator import eq, ge, le
from typing import Any

from sqlalchemy import Row, select

from app.errors import DomainNotFound, NotYours, RecordNotFound
from app.extensions import db
from app.models import Domain, Pathname, TrafficRecord, TrafficSource
from app.repositories.base import Page, paginate

# What a list shows of a record; headers and bodies stay in the database.
SUMMARY = (
    TrafficRecord.id,
    TrafficRecord.status,
    TrafficRecord.method,
    TrafficRecord.level,
    TrafficRecord.elapsed_time,
    TrafficRecord.traffic_user_id,
    TrafficRecord.traffic_source_id,
    Pathname.domain_id,
    TrafficRecord.pathname_id,
    TrafficRecord.request_id,
    TrafficRecord.response_id,
    TrafficRecord.created_at,
)


def list_of(
    source_id: str,
    page: int,
    page_limit: int,
    level: str | None = None,
    method: str | None = None,
    status: int | None = None,
    domain_id: str | None = None,
    pathname_id: str | None = None,
    start_date: datetime | None = None,
    end_date: datetime | None = None,
) -> Page:
    """Summaries, newest first. ``start_date`` and ``end_date`` are included."""
    wanted = [
        (TrafficRecord.level, eq, level),
        (TrafficRecord.method, eq, method),
        (TrafficRecord.status, eq, status),
        (TrafficRecord.pathname_id, eq, pathname_id),
        (TrafficRecord.created_at, ge, start_date),
        (TrafficRecord.created_at, le, end_date),
    ]
    records = select(TrafficRecord.id).where(TrafficRecord.traffic_source_id == source_id)
    records = records.where(*(compare(column, value) for column, compare, value in wanted if value is not None))
    if domain_id is not None:
        records = records.where(
            TrafficRecord.pathname_id.in_(select(Pathname.id).where(Pathname.domain_id == domain_id))
        )
    found = paginate(records, page, page_limit, TrafficRecord.id.desc())
    summaries = select(*SUMMARY).join(Pathname, Pathname.id == TrafficRecord.pathname_id)
    shown = summaries.where(TrafficRecord.id.in_(found.items)).order_by(TrafficRecord.id.desc())
    return replace(found, items=list(db.session.execute(shown)))


def get_owned(record_id: str, user_id: str) -> Row[*tuple[Any, ...]]:
    """The record with its domain and path. Raises RecordNotFound, NotYours."""
    query = (
        select(TrafficRecord, Domain, Pathname.value.label("pathname"), TrafficSource.user_id)
        .join(Pathname, Pathname.id == TrafficRecord.pathname_id)
        .join(Domain, Domain.id == Pathname.domain_id)
        .join(TrafficSource, TrafficSource.id == TrafficRecord.traffic_source_id)
        .where(TrafficRecord.id == record_id)
    )
    row = db.session.execute(query).one_or_none()
    if row is None:
        raise RecordNotFound
    if row.user_id != user_id:
        raise NotYours
    return row


def list_domains(source_id: str, page: int, page_limit: int) -> Page:
    query = select(Domain).where(Domain.traffic_source_id == source_id)
    return paginate(query, page, page_limit, Domain.id.desc())


def list_pathnames(source_id: str, domain_id: str, page: int, page_limit: int) -> Page:
    """Raises DomainNotFound."""
    domain = db.session.get(Domain, domain_id)
    if domain is None or domain.traffic_source_id != source_id:
        raise DomainNotFound
    query = select(Pathname.id, Pathname.value, Pathname.domain_id, Domain.traffic_source_id, Pathname.created_at).join(
        Domain
    )
    return paginate(query.where(Pathname.domain_id == domain_id), page, page_limit, Pathname.id.desc())
