"""What was reported, as users look at it."""

from typing import Any, cast

from sqlalchemy import BigInteger, ColumnElement, Row, Select, TextClause, bindparam, func, select, text, true

from app.errors import DomainNotFound, RecordNotFound
from app.extensions import db
from app.models import Domain, Pathname, TrafficRecord, TrafficSource
from app.models.columns import Identifier, UTCDateTime
from app.repositories.access import Caller, check_owner, explain_refusal
from app.repositories.base import Page, paginate
from app.repositories.statements import fetch_all

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
FILTERS = {
    "level": TrafficRecord.level == bindparam("level"),
    "method": TrafficRecord.method == bindparam("method"),
    "status": TrafficRecord.status == bindparam("status"),
    "pathname_id": TrafficRecord.pathname_id == bindparam("pathname_id", type_=Identifier),
    "domain_id": TrafficRecord.pathname_id.in_(
        select(Pathname.id).where(Pathname.domain_id == bindparam("domain_id", type_=Identifier))
    ),
    "start_date": TrafficRecord.created_at >= bindparam("start_date", type_=UTCDateTime),
    "end_date": TrafficRecord.created_at <= bindparam("end_date", type_=UTCDateTime),
}


# arkyn's panel refuses a page that shows another method.
OF_KNOWN_METHOD = text("http_traffic_records.method IN ('get', 'post', 'put', 'delete', 'patch')")


def list_of(source_id: str, caller: Caller, page: int, page_limit: int, **filters: Any) -> Page:
    """Summaries, newest first, of records that have the values given for some of FILTERS. Both dates are included.

    Without a ``method``, those that OF_KNOWN_METHOD names.

    Raises InvalidToken, TrafficSourceNotFound, NotYours.
    """
    parameters = {"source_id": source_id, "limit": page_limit, "offset": (page - 1) * page_limit}
    rows = fetch_all(
        _list_statement, caller.own_source, tuple(filters), parameters=caller.parameters | parameters | filters
    )
    if not rows:
        explain_refusal(source_id, caller)
    total = rows[0]["total"] if rows else 0
    return Page([row for row in rows if row["id"]], page, page_limit, total)


def _list_statement(own_source: Select[Any], filters: tuple[str, ...]) -> Select[Any]:
    """One row at least where the caller may see the source: with the total, and nothing else on an empty page."""
    own = own_source.cte("own")
    of_source = TrafficRecord.traffic_source_id == bindparam("source_id", type_=Identifier)
    conditions: list[ColumnElement[bool] | TextClause] = [FILTERS[name] for name in filters]
    if "method" not in filters:
        conditions.append(OF_KNOWN_METHOD)
    records = select(TrafficRecord.id).where(select(own).exists(), of_source, *conditions)
    total = records.with_only_columns(func.count()).scalar_subquery()
    limit, offset = (bindparam(name, type_=BigInteger) for name in ("limit", "offset"))
    page = records.order_by(TrafficRecord.id.desc()).limit(limit).offset(offset).subquery()
    shown = select(*SUMMARY).join(page, page.c.id == TrafficRecord.id).join(Pathname).subquery()
    return select(total.label("total"), *shown.c).select_from(own.outerjoin(shown, true())).order_by(shown.c.id.desc())


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
    check_owner(row and row.user_id, user_id, RecordNotFound)
    return cast(Row[*tuple[Any, ...]], row)


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
