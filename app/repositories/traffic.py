"""Queries of records, domains and pathnames."""

from functools import cache, lru_cache
from typing import Any

from sqlalchemy import BigInteger, Row, String, func, select

from app.errors import DomainNotFound, RecordNotFound
from app.extensions import db
from app.models import Domain, Pathname, TrafficRecord
from app.models.columns import Identifier, UTCDateTime
from app.repositories.base import MAX_PAGE_LIMIT, NEWEST_FIRST, Order, Page, list_room, paginate, table_of
from app.repositories.statements import Statement

# Columns of a record in a list, by name; headers and bodies are not loaded.
SUMMARY = {
    **{name: f"records.{name}" for name in ("id", "status", "method", "level", "elapsed_time", "traffic_user_id")},
    **{name: f"records.{name}" for name in ("traffic_source_id", "pathname_id", "request_id", "response_id")},
    "created_at": "records.created_at",
    "domain_id": "pathnames.domain_id",
}
_SHOWN = ", ".join(f"{column} AS {name}" for name, column in SUMMARY.items())
TYPES: dict[str, Any] = {
    **{column.name: column.type for column in table_of(TrafficRecord).columns},
    **dict.fromkeys(("source_id", "domain_id"), Identifier),
    **dict.fromkeys(("start_date", "end_date"), UTCDateTime()),
    "path_part": String(),
}
# Conditions of a list, by parameter.
FILTERS = {
    "id": "id = :id",
    "level": "level = :level",
    "method": "method = :method",
    "protocol": "protocol = :protocol",
    "status": "status = :status",
    "pathname_id": "pathname_id = :pathname_id",
    "domain_id": "pathname_id IN (SELECT id FROM pathnames WHERE domain_id = :domain_id)",
    "path_part": (
        "pathname_id IN (SELECT pathnames.id FROM pathnames JOIN domains ON domains.id = pathnames.domain_id"
        " WHERE domains.traffic_source_id = :source_id AND {find}(lower(pathnames.value), lower(:path_part)) > 0)"
    ),
    "start_date": "created_at >= :start_date",
    "end_date": "created_at <= :end_date",
    # arkyn's panel rejects a page with any other method.
    "known_methods": "method IN ('get', 'post', 'put', 'delete', 'patch')",
}
# Columns by which a list can be sorted.
SORTS = {"created_at": "id", **{name: name for name in ("elapsed_time", "status", "method", "level")}}


def list_of(source_id: str, page: int, page_limit: int, order: Order = NEWEST_FIRST, **filters: Any) -> Page:
    """A page of record summaries. ``filters`` are some of FILTERS; both dates are inclusive.

    Without a ``method`` filter, only the ``known_methods`` are listed.
    """
    if "method" not in filters:
        filters["known_methods"] = True
    return _summaries(source_id, page, page_limit, order, filters)


def list_by_path(
    source_id: str,
    page: int,
    page_limit: int,
    order: Order = NEWEST_FIRST,
    pathname: str | None = None,
    **filters: Any,
) -> Page:
    """A page of record summaries, of all methods, whose path contains ``pathname``."""
    if pathname:
        filters["path_part"] = pathname
    return _summaries(source_id, page, page_limit, order, filters)


def _summaries(source_id: str, page: int, page_limit: int, order: Order, filters: dict[str, Any]) -> Page:
    values = {"source_id": source_id, "limit": page_limit, "offset": (page - 1) * page_limit}
    with list_room:
        rows = _list(tuple(filters), order, _find()).run(values | filters)
    return Page([row for row in rows if row["id"]], page, page_limit, rows[0]["total"])


def _find() -> str:
    """The function that finds one text in another: on hostile ones, LIKE takes the product of their lengths."""
    return "strpos" if db.is_postgresql else "instr"


# Bounded, since filters and orders combine to thousands of statements.
@lru_cache(maxsize=128)
def _list(filters: tuple[str, ...], order: Order, find: str) -> Statement:
    """The page and its total in one statement. An empty page has one row, with the total alone.

    It is planned before its parameters are known. A limit that is known makes PostgreSQL look up the rows of the page,
    instead of joining all records of all sources.
    """
    conditions = ["traffic_source_id = :source_id", *(FILTERS[name].format(find=find) for name in filters)]
    matching = f"FROM http_traffic_records WHERE {' AND '.join(conditions)}"
    direction = "DESC" if order.descends else "ASC"
    # For "id, id", SQLite would search the newest records of all sources.
    columns = dict.fromkeys((SORTS[order.column], "id"))
    page_order, order_by = (", ".join(f"{of}{name} {direction}" for name in columns) for of in ("", "shown."))
    sql = f"""
    SELECT counted.total, shown.* FROM (SELECT count(*) AS total {matching}) AS counted
    LEFT JOIN (
        SELECT {_SHOWN}
        FROM (
            SELECT * FROM (
                SELECT id {matching} ORDER BY {page_order} LIMIT :limit OFFSET :offset
            ) AS page LIMIT {MAX_PAGE_LIMIT}
        ) AS page
        JOIN http_traffic_records AS records ON records.id = page.id
        JOIN pathnames ON pathnames.id = records.pathname_id
    ) AS shown ON TRUE
    ORDER BY {order_by}
    """  # noqa: S608 # nosec B608
    return Statement(sql, TYPES, {"total": BigInteger(), **{name: TYPES[name] for name in SUMMARY}})


def get_summary(source_id: str, record_id: str) -> dict[str, Any]:
    """The summary of the source's record with that id. Raises RecordNotFound."""
    if summary := _get_by("id", source_id, record_id):
        return summary
    raise RecordNotFound


def get_reported(source_id: str, report_id: str) -> dict[str, Any] | None:
    """The summary of the record with that ``report_id``, or None."""
    return _get_by("report_id", source_id, report_id)


def _get_by(column: str, source_id: str, value: str) -> dict[str, Any] | None:
    return next(iter(_summary_by(column).run({"source_id": source_id, column: value})), None)


@cache
def _summary_by(column: str) -> Statement:
    sql = f"""
    SELECT {_SHOWN} FROM http_traffic_records AS records JOIN pathnames ON pathnames.id = records.pathname_id
    WHERE records.traffic_source_id = :source_id AND records.{column} = :{column}
    """  # noqa: S608 # nosec B608
    return Statement(sql, TYPES, {name: TYPES[name] for name in SUMMARY})


def get(record_id: str) -> Row[*tuple[Any, ...]]:
    """The record with its Domain and ``pathname``. Raises RecordNotFound."""
    query = (
        select(TrafficRecord, Domain, Pathname.value.label("pathname"))
        .join(Pathname, Pathname.id == TrafficRecord.pathname_id)
        .join(Domain, Domain.id == Pathname.domain_id)
        .where(TrafficRecord.id == record_id)
    )
    if row := db.session.execute(query).one_or_none():
        return row
    raise RecordNotFound


def list_domains(
    source_id: str,
    page: int,
    page_limit: int,
    order: Order = NEWEST_FIRST,
    *,
    value: str | None = None,
    protocol: str | None = None,
) -> Page:
    """A page of the source's domains, of ``protocol`` if given, whose host contains ``value``."""
    query = _containing(select(Domain).where(Domain.traffic_source_id == source_id), Domain, value)
    if protocol:
        query = query.where(Domain.protocol == protocol)
    return paginate(query, page, page_limit, *order.by(getattr(Domain, order.column), Domain.id))


def list_pathnames(
    source_id: str,
    domain_id: str,
    page: int,
    page_limit: int,
    order: Order = NEWEST_FIRST,
    value: str | None = None,
) -> Page:
    """A page of the domain's pathnames that contain ``value``. Raises DomainNotFound."""
    of_domain = (Domain.id == domain_id, Domain.traffic_source_id == source_id)
    shown = (Pathname.id, Pathname.value, Pathname.domain_id, Domain.traffic_source_id, Pathname.created_at)
    query = _containing(select(*shown).join(Domain).where(*of_domain), Pathname, value)
    found = paginate(query, page, page_limit, *order.by(getattr(Pathname, order.column), Pathname.id))
    if not found.total_items and db.session.scalar(select(Domain.id).where(*of_domain)) is None:
        raise DomainNotFound
    return found


def _containing(query: Any, model: type[Domain | Pathname], part: str | None) -> Any:
    found = getattr(func, _find())(func.lower(model.value), func.lower(part))
    return query.where(found > 0) if part else query
