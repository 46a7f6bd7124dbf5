"""Lists what was reported, for those who look at it."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Row, TextClause, func, select, text

from app.errors import DomainNotFound, RecordNotFound
from app.extensions import db
from app.models import Domain, Pathname, TrafficRecord
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


# What a list can be narrowed by, under the names of its parameters.
FILTERS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "level": lambda value: TrafficRecord.level == value,
    "method": lambda value: TrafficRecord.method == value,
    "status": lambda value: TrafficRecord.status == value,
    "pathname_id": lambda value: TrafficRecord.pathname_id == value,
    "domain_id": lambda value: TrafficRecord.pathname_id.in_(select(Pathname.id).where(Pathname.domain_id == value)),
    "start_date": lambda value: TrafficRecord.created_at >= value,
    "end_date": lambda value: TrafficRecord.created_at <= value,
}


# arkyn's panel refuses a page that shows another method.
OF_KNOWN_METHOD = text("http_traffic_records.method IN ('get', 'post', 'put', 'delete', 'patch')")


def list_of(source_id: str, page: int, page_limit: int, **filters: Any) -> Page:
    """Summaries, newest first, of records that have the values given for some of FILTERS. Both dates are included.

    Without a ``method``, those that OF_KNOWN_METHOD names.
    """
    conditions: list[ColumnElement[bool] | TextClause] = [FILTERS[name](value) for name, value in filters.items()]
    if "method" not in filters:
        conditions.append(OF_KNOWN_METHOD)
    records = select(TrafficRecord.id).where(TrafficRecord.traffic_source_id == source_id, *conditions)
    total = db.session.scalar(records.with_only_columns(func.count())) or 0
    shown = records.order_by(TrafficRecord.id.desc()).limit(page_limit).offset((page - 1) * page_limit).subquery()
    summaries = select(*SUMMARY).join(shown, shown.c.id == TrafficRecord.id).join(Pathname)
    return Page(list(db.session.execute(summaries.order_by(TrafficRecord.id.desc()))), page, page_limit, total)


def get(record_id: str) -> Row[*tuple[Any, ...]]:
    """The record with its domain and path. Raises RecordNotFound."""
    query = (
        select(TrafficRecord, Domain, Pathname.value.label("pathname"))
        .join(Pathname, Pathname.id == TrafficRecord.pathname_id)
        .join(Domain, Domain.id == Pathname.domain_id)
        .where(TrafficRecord.id == record_id)
    )
    if row := db.session.execute(query).one_or_none():
        return row
    raise RecordNotFound


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
