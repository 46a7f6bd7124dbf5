from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import eq, ge, le
from typing import Any, NamedTuple, cast

from sqlalchemy import Row, Table, insert, select

from app.errors import DomainNotFound, NotYours, RecordNotFound, TrafficSourceNotFound
from app.extensions import db
from app.models import Delivery, Domain, Pathname, TrafficRecord, TrafficSource, Webhook
from app.models.columns import new_id, utcnow
from app.repositories.base import Page, conflicts_as, insert_ignoring_conflicts, paginate

Place = tuple[str, str, str]  # protocol, host, path


class PlaceIds(NamedTuple):
    domain_id: str
    pathname_id: str


records_table = cast(Table, TrafficRecord.__table__)
deliveries_table = cast(Table, Delivery.__table__)

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


def add_all(records: list[dict[str, Any]], deliveries: list[dict[str, Any]]) -> None:
    """Records and the deliveries they cause, as column values.

    Raises TrafficSourceNotFound where the source, or a webhook of it, was deleted meanwhile.
    """
    with conflicts_as(gone=TrafficSourceNotFound()):
        # Into the tables, past the object mapper: there is nothing to map, and a batch has a thousand rows.
        db.session.execute(insert(records_table), records)
        if deliveries:
            db.session.execute(insert(deliveries_table), deliveries)


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
        (Pathname.domain_id, eq, domain_id),
        (TrafficRecord.pathname_id, eq, pathname_id),
        (TrafficRecord.created_at, ge, start_date),
        (TrafficRecord.created_at, le, end_date),
    ]
    query = select(*SUMMARY).join(Pathname, Pathname.id == TrafficRecord.pathname_id)
    query = query.where(TrafficRecord.traffic_source_id == source_id)
    query = query.where(*(compare(column, value) for column, compare, value in wanted if value is not None))
    return paginate(query, page, page_limit, TrafficRecord.id.desc())


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


def source_with_webhooks(source_id: str) -> Sequence[Row[*tuple[Any, ...]]]:
    """The source's owner with each of its webhooks (one row without, where it has none).

    Until the transaction ends the source cannot be deleted: who deletes it locks it first as well, so the two
    never wait for each other.
    """
    query = (
        select(
            TrafficSource.user_id,
            Webhook.id.label("webhook_id"),
            Webhook.level,
            Webhook.state,
            Webhook.next_message_at,
            Webhook.muted_until,
        )
        .outerjoin(Webhook, Webhook.traffic_source_id == TrafficSource.id)
        .where(TrafficSource.id == source_id)
        .with_for_update(read=True, key_share=True, of=TrafficSource)
    )
    return db.session.execute(query).all()


def find_or_add_pathnames(source_id: str, places: Iterable[Place]) -> dict[Place, PlaceIds]:
    """The ids of each place's domain and pathname. Makes what is missing, never twice, under any concurrency.

    Raises TrafficSourceNotFound where the source is deleted meanwhile.
    """
    places = sorted(set(places))
    domains = sorted({(protocol, host) for protocol, host, _ in places})
    _insert_missing(
        Domain, [{"traffic_source_id": source_id, "protocol": protocol, "value": host} for protocol, host in domains]
    )
    hosts = [host for _, host in domains]
    found = db.session.execute(
        select(Domain.id, Domain.protocol, Domain.value).where(
            Domain.traffic_source_id == source_id, Domain.value.in_(hosts)
        )
    )
    domain_ids = {(row.protocol, row.value): row.id for row in found}
    if not domain_ids.keys() >= set(domains):
        raise TrafficSourceNotFound
    keys = {(domain_ids[protocol, host], path): (protocol, host, path) for protocol, host, path in places}
    _insert_missing(Pathname, [{"domain_id": domain_id, "value": path} for domain_id, path in sorted(keys)])
    rows = db.session.execute(
        select(Pathname.id, Pathname.domain_id, Pathname.value).where(
            Pathname.domain_id.in_(domain_ids.values()), Pathname.value.in_([path for _, _, path in places])
        )
    )
    ids = {keys.get((row.domain_id, row.value)): PlaceIds(row.domain_id, row.id) for row in rows}
    if not ids.keys() >= set(places):
        raise TrafficSourceNotFound
    return {place: ids[place] for place in places}


def _insert_missing(model: type[Domain] | type[Pathname], rows: list[dict[str, Any]]) -> None:
    with conflicts_as(gone=TrafficSourceNotFound()):
        stamped = [row | {"id": new_id(), "created_at": utcnow()} for row in rows]
        db.session.execute(insert_ignoring_conflicts(model), stamped)
