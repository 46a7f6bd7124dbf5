"""Helpers of the repositories: paging, constraint violations as domain errors, and both databases' dialects."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any, NamedTuple, cast

import psycopg
from sqlalchemy import ColumnElement, CursorResult, Select, Table, UpdateBase, func, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from app.errors import Conflict, NotFound, ServiceError
from app.extensions import Base, db

UNIQUE_VIOLATIONS = {"23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}
FOREIGN_KEY_VIOLATIONS = {"23503", "SQLITE_CONSTRAINT_FOREIGNKEY"}

# Lists count all their rows, which takes long: at most four of a worker's connections are for lists at a time.
list_room = BoundedSemaphore(4)


# For this transaction, use custom plans along indexes: the driver prepares statements, and PostgreSQL might keep a
# generic plan from when the tables were small.
PLAN_AFRESH = """
SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off;
SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off
"""


class Order(NamedTuple):
    """The order of a list: by a column, and then by id."""

    column: str
    descends: bool

    def by(self, *columns: Any) -> list[ColumnElement[Any]]:
        return [column.desc() if self.descends else column.asc() for column in columns]


# Items of the longest page.
MAX_PAGE_LIMIT = 100
NEWEST_FIRST = Order("created_at", descends=True)


@dataclass(frozen=True)
class Page:
    """One page of a list (``page`` from 1), and the number of items of the whole list."""

    items: list[Any]
    page: int
    page_limit: int
    total_items: int

    @property
    def meta(self) -> "Page":
        return self


def paginate(query: Select[*tuple[Any, ...]], page: int, page_limit: int, *order_by: ColumnElement[Any]) -> Page:
    """The ``page``-th (from 1) slice of ``query``: entities if it selects one column, rows otherwise.

    Call it before any other query of a request: a request that waits for ``list_room`` must hold no connection, since
    those inside may wait for one.
    """
    sliced = query.order_by(*order_by).limit(page_limit).offset((page - 1) * page_limit)
    with list_room:
        total = db.session.scalar(query.with_only_columns(func.count(), maintain_column_froms=True)) or 0
        rows = db.session.execute(sliced).all()
    items = [row[0] for row in rows] if len(query.column_descriptions) == 1 else list(rows)
    return Page(items, page, page_limit, total)


@contextmanager
def violations_as(*, taken: Conflict | None = None, gone: ServiceError | None = None) -> Iterator[None]:
    """Raise ``taken`` for a unique violation, and ``gone`` for a concurrently deleted row or foreign key.

    Flush inside the block, so that the violation occurs there.
    """
    try:
        yield
    except StaleDataError:
        raise (gone or NotFound()) from None
    except (IntegrityError, psycopg.IntegrityError) as error:
        cause = getattr(error, "orig", error)
        code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
        if taken and code in UNIQUE_VIOLATIONS:
            raise taken from None
        if gone and code in FOREIGN_KEY_VIOLATIONS:
            raise gone from None
        raise


def table_of(model: type[Base]) -> Table:
    """The table of ``model``, for Core statements, which bypass the ORM."""
    return cast(Table, model.__table__)


def unsynchronized(statement: UpdateBase) -> int:
    """Execute an UPDATE or DELETE without updating the session's objects. Returns the number of rows."""
    result = db.session.execute(statement, execution_options={"synchronize_session": False})
    return cast(CursorResult[Any], result).rowcount


def begin_writing() -> None:
    """Take SQLite's write lock until the end of the transaction, so that rows read in it stay current.

    Does nothing on PostgreSQL, where queries lock rows instead.
    """
    if not db.is_postgresql and not db.session.connection().connection.driver_connection.in_transaction:  # type: ignore[union-attr]
        db.session.connection().exec_driver_sql("BEGIN IMMEDIATE")


def insert_ignoring_conflicts(into: type[Base] | Table) -> Any:
    """``INSERT … ON CONFLICT DO NOTHING`` in the database's own dialect."""
    dialect = postgresql if db.is_postgresql else sqlite
    return dialect.insert(into).on_conflict_do_nothing()


def plan_afresh() -> None:
    if db.is_postgresql:
        db.session.execute(text(PLAN_AFRESH))
