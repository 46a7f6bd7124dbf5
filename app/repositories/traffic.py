"""Queries of records, domains and pathnames."""

from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Row, select

from app.errors import DomainNotFound, RecordNotFound
from app.extensions import db
from app.models import Domain, Pathname, TrafficRecord
from app.models.columns import Identifier, UTCDateTime
from app.repositories.base import Page, list_room, paginate, table_of
from app.repositories.statements import Statement

# Columns of a record in a list, by name; headers and bodies are not loaded.
SUMMARY = {
    **{name: f"records.{name}" for name in ("id", "status", "method", "level", "elapsed_time", "traffic_user_id")},
    **{name: f"records.{name}" for name in ("traffic_source_id", "pathname_id", "request_id", "response_id")},
    "created_at": "records.created_at",
    "domain_id": "pathnames.domain_id",
}
_SHOWN = ", ".join(f"{column} AS {name}" for name, column in SUMMARY.items())
_TYPES: dict[str, Any] = {
    **{column.name: column.type for column in table_of(TrafficRecord).columns},
    **dict.fromkeys(("source_id", "domain_id"), Identifier),
    **dict.fromkeys(("start_date", "end_date"), UTCDateTime()),
}
# Conditions of a list, by parameter.
FILTERS = {
    "level": "level = :level",
    "method": "method = :method",
    "status": "status = :status",
    "pathname_id": "pathname_id = :pathname_id",
    "domain_id": "pathname_id IN (SELECT id FROM pathnames WHERE domain_id = :domain_id)",
    "start_date": "created_at >= :start_date",
    "end_date": "created_at <= :end_date",
}
# arkyn's panel rejects a page with any other method.
OF_KNOWN_METHOD = "method IN ('get', 'post', 'put', 'delete', 'patch')"


def list_of(source_id: str, page: int, page_limit: int, **filters: Any) -> Page:
    """A page of record summaries, newest first. ``filters`` are some of FILTERS; both dates are inclusive.

    Without a ``method`` filter, only methods of OF_KNOWN_METHOD are listed.
    """
    values = {"source_id": source_id, "limit": page_limit, "offset": (page - 1) * page_limit}
    with list_room:
        rows = _list(tuple(filters)).run(values | filters)
    return Page([row for row in rows if row["id"]], page, page_limit, rows[0]["total"])


@cache
def _list(filters: tuple[str, ...]) -> Statement:
    """The page and its total in one statement. An empty page has one row, with the total alone."""
    conditions = ["traffic_source_id = :source_id", *(FILTERS[name] for name in filters)]
    if "method" not in filters:
        conditions.append(OF_KNOWN_METHOD)
    matching = f"FROM http_traffic_records WHERE {' AND '.join(conditions)}"
    sql = f"""
    SELECT counted.total, shown.* FROM (SELECT count(*) AS total {matching}) AS counted
    LEFT JOIN (
        SELECT {_SHOWN}
        FROM (SELECT id {matching} ORDER BY id DESC LIMIT :limit OFFSET :offset) AS page
        JOIN http_traffic_records AS records ON records.id = page.id
        JOIN pathnames ON pathnames.id = records.pathname_id
    ) AS shown ON TRUE
    ORDER BY shown.id DESC
    """  # noqa: S608 # nosec B608
    return Statement(sql, _TYPES, {"total": BigInteger(), **{name: _TYPES[name] for name in SUMMARY}})


def get_reported(source_id: str, report_id: str) -> dict[str, Any] | None:
    """The summary of the record with that ``report_id``, or None."""
    return next(iter(_reported().run({"source_id": source_id, "report_id": report_id})), None)


@cache
def _reported() -> Statement:
    sql = f"""
    SELECT {_SHOWN} FROM http_traffic_records AS records JOIN pathnames ON pathnames.id = records.pathname_id
    WHERE records.traffic_source_id = :source_id AND report_id = :report_id
    """  # noqa: S608 # nosec B608
    return Statement(sql, _TYPES, {name: _TYPES[name] for name in SUMMARY})


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


def list_domains(source_id: str, page: int, page_limit: int) -> Page:
    query = select(Domain).where(Domain.traffic_source_id == source_id)
    return paginate(query, page, page_limit, Domain.id.desc())


def list_pathnames(source_id: str, domain_id: str, page: int, page_limit: int) -> Page:
    """Raises DomainNotFound."""
    of_domain = (Domain.id == domain_id, Domain.traffic_source_id == source_id)
    shown = (Pathname.id, Pathname.value, Pathname.domain_id, Domain.traffic_source_id, Pathname.created_at)
    found = paginate(select(*shown).join(Domain).where(*of_domain), page, page_limit, Pathname.id.desc())
    if not found.total_items and db.session.scalar(select(Domain.id).where(*of_domain)) is None:
        raise DomainNotFound
    return found
