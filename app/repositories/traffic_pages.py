"""Reads pages of records by keyset, each at a bounded cost, whatever the number of records and the filters."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, String

from app.models.columns import NO_ID, Identifier, first_id_at
from app.models.traffic import Domain
from app.policies import as_like
from app.repositories.base import table_of
from app.repositories.statements import Statement
from app.repositories.traffic import TYPES

# Records that one page looks through; the next page goes on from there.
MAX_LOOKED_AT = 10_000
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"

SHOWN = {
    **{name: f"seen.{name}" for name in ("id", "status", "method", "level", "elapsed_time", "created_at")},
    "pathname": "pathnames.value",
    "host": "domains.value",
}
FILTERS = {
    "level": "seen.level = :level",
    "method": "seen.method = :method",
    "status": "seen.status BETWEEN :status AND :last_status",
    "pathname_id": "seen.pathname_id = :pathname_id",
    "domain_id": "pathnames.domain_id = :domain_id",
    "pathname": "lower(pathnames.value) LIKE :pathname ESCAPE '\\'",
}


@dataclass(frozen=True)
class KeysetPage:
    """Records, newest first. ``before`` continues below them; None at the end.

    ``is_cut`` says that MAX_LOOKED_AT records were looked through before the page was full.
    """

    items: list[dict[str, Any]]
    before: str | None
    is_cut: bool = False


EMPTY = KeysetPage([], None)


def list_before(source_id: str, before: str | None, page_limit: int, **filters: Any) -> KeysetPage:
    """The newest records with ids below ``before``. ``filters`` are some of FILTERS, ``start_date``, ``end_date``.

    ``status`` is the first and the last of a range.
    """
    values: dict[str, Any] = {"source_id": source_id, "before": before or LAST_ID, "since": NO_ID}
    if start := filters.pop("start_date", None):
        values["since"] = first_id_at(start)
    if end := filters.pop("end_date", None):
        values["before"] = min(values["before"], last_id_at(end))
    if "pathname" in filters:
        filters["pathname"] = path_pattern(filters["pathname"])
    if "status" in filters:
        filters["status"], values["last_status"] = filters["status"]
    values |= filters | {"limit": page_limit + 1, "most": MAX_LOOKED_AT}
    rows = _list(tuple(filters)).run(values)
    if len(rows) > page_limit:
        return KeysetPage(rows[:page_limit], rows[page_limit - 1]["id"])
    last = _last_looked_at().run(values) if filters else []
    return KeysetPage(rows, last[0]["id"] if last else None, bool(last))


def last_id_at(moment: Any) -> str:
    """An identifier above all of ``moment``'s."""
    return first_id_at(moment)[:13] + "-ffff-ffff-ffffffffffff"


def path_pattern(text: str) -> str:
    """The pattern of LIKE for paths in lower case that contain ``text``.

    A ``text`` with ``*``, which stands for any text, or with ``=`` in front must match the whole path.
    """
    if text.startswith("="):
        return as_like(text[1:].lower())
    return as_like(text.lower() if "*" in text else f"*{text.lower()}*")


_WINDOW = """
    FROM http_traffic_records WHERE traffic_source_id = :source_id AND id < :before AND id >= :since ORDER BY id DESC
"""
_PARAMETERS: dict[str, Any] = {
    **TYPES,
    **dict.fromkeys(("before", "since"), Identifier),
    **dict.fromkeys(("limit", "most"), BigInteger()),
    "pathname": String(),
    "last_status": TYPES["status"],
}


@cache
def _list(filters: tuple[str, ...]) -> Statement:
    where = " AND ".join(FILTERS[name] for name in filters) or "TRUE"
    sql = f"""
    SELECT {", ".join(f"{column} AS {name}" for name, column in SHOWN.items())} FROM (
        SELECT id, status, method, level, elapsed_time, created_at, pathname_id {_WINDOW} LIMIT :most
    ) AS seen
    JOIN pathnames ON pathnames.id = seen.pathname_id JOIN domains ON domains.id = pathnames.domain_id
    WHERE {where} ORDER BY seen.id DESC LIMIT :limit
    """  # noqa: S608 # nosec B608
    types = {name: TYPES.get(name, String()) for name in SHOWN} | {"host": table_of(Domain).c.value.type}
    return Statement(sql, _PARAMETERS, types)


@cache
def _last_looked_at() -> Statement:
    sql = f"SELECT id {_WINDOW} LIMIT 1 OFFSET :most - 1"  # nosec B608
    return Statement(sql, _PARAMETERS, {"id": Identifier})
