"""Where reported requests went: the domains and pathnames of a traffic source, each there once."""

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import CTE, CompoundSelect, Select, String, bindparam, select, tuple_, union_all

from app.errors import PlaceRemoved
from app.extensions import db
from app.models import Domain, Pathname
from app.models.columns import Identifier, UTCDateTime, new_id, utcnow
from app.repositories.access import Caller
from app.repositories.base import conflicts_as, insert_ignoring_conflicts, table_of, violations_as
from app.repositories.statements import Compiled

Place = tuple[str, str, str]  # protocol, host, path


class PlaceIds(NamedTuple):
    domain_id: str
    pathname_id: str


def find_or_add_one(source_id: str, caller: Caller, place: Place) -> PlaceIds | None:
    """Find, or make and commit, a place; on PostgreSQL in one statement.

    None where that could not be done: ``explain_refusal`` and ``find_or_add`` then tell why. Raises
    PlaceRemoved where a domain or pathname was removed, or the source deleted, meanwhile.
    """
    if not db.is_postgresql:
        return None
    protocol, host, path = place
    parameters = {**caller.parameters, "source_id": source_id, "protocol": protocol, "host": host, "path": path}
    new = {"new_domain_id": new_id(), "new_pathname_id": new_id(), "now": utcnow()}
    with violations_as(gone=PlaceRemoved()):
        rows = _one_statement(caller.own_source).execute(parameters | new)
    return PlaceIds(**rows[0]) if rows else None


@cache
def _one_statement(own_source: Select[Any]) -> Compiled:
    """Returns nothing where somebody else makes the same place at the same time."""
    own = own_source.cte("own")
    now = bindparam("now", type_=UTCDateTime)
    protocol, host, path = (bindparam(name, type_=String) for name in ("protocol", "host", "path"))

    domain_row = {
        "id": bindparam("new_domain_id", type_=Identifier),
        "created_at": now,
        "protocol": protocol,
        "value": host,
        "traffic_source_id": own.c.id,
    }
    at_host = (Domain.traffic_source_id == own.c.id, Domain.protocol == protocol, Domain.value == host)
    known_domain = select(Domain.id).where(*at_host).cte("known_domain")
    domain = _known_or_new(Domain, known_domain, domain_row).cte("domain")

    pathname_row = {
        "id": bindparam("new_pathname_id", type_=Identifier),
        "created_at": now,
        "value": path,
        "domain_id": domain.c.id,
    }
    at_path = (Pathname.domain_id == domain.c.id, Pathname.value == path)
    known_pathname = select(Pathname.id).where(*at_path).cte("known_pathname")
    pathname = _known_or_new(Pathname, known_pathname, pathname_row).cte("pathname")
    return Compiled(select(domain.c.id.label("domain_id"), pathname.c.id.label("pathname_id")))


def _known_or_new(model: type[Domain] | type[Pathname], known: CTE, row: dict[str, Any]) -> CompoundSelect[Any]:
    table = table_of(model)
    values = select(*row.values()).where(~select(known).exists())
    new = insert_ignoring_conflicts(table).from_select(list(row), values).returning(table.c.id)
    return union_all(select(known), select(new.cte()))


def find_or_add(source_id: str, places: Iterable[Place]) -> dict[Place, PlaceIds]:
    """The ids of each place's domain and pathname. Makes what is missing, never twice, under any concurrency.

    Raises PlaceRemoved where a domain or pathname was removed, or the source deleted, meanwhile.
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
        raise PlaceRemoved
    keys = {(domain_ids[protocol, host], path): (protocol, host, path) for protocol, host, path in places}
    _insert_missing(Pathname, [{"domain_id": domain_id, "value": path} for domain_id, path in sorted(keys)])
    rows = db.session.execute(
        select(Pathname.id, Pathname.domain_id, Pathname.value).where(
            tuple_(Pathname.domain_id, Pathname.value).in_(sorted(keys))
        )
    )
    ids = {keys.get((row.domain_id, row.value)): PlaceIds(row.domain_id, row.id) for row in rows}
    if not ids.keys() >= set(places):
        raise PlaceRemoved
    return {place: ids[place] for place in places}


def _insert_missing(model: type[Domain] | type[Pathname], rows: list[dict[str, Any]]) -> None:
    with conflicts_as(gone=PlaceRemoved()):
        stamped = [row | {"id": new_id(), "created_at": utcnow()} for row in rows]
        db.session.execute(insert_ignoring_conflicts(model), stamped)
