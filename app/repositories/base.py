"""What the repositories share: paging, and constraint violations told as domain errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from sqlalchemy import ColumnElement, CursorResult, Select, Table, UpdateBase, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from app.errors import Conflict, NotFound, ServiceError
from app.extensions import Base, db

UNIQUE_VIOLATIONS = {"23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}
FOREIGN_KEY_VIOLATIONS = {"23503", "SQLITE_CONSTRAINT_FOREIGNKEY"}


@dataclass(frozen=True)
class Page:
    """One page of a list, and how many items the whole list has."""

    items: list[Any]
    page: int
    page_limit: int
    total_items: int

    @property
    def meta(self) -> "Page":
        return self


def paginate(query: Select[*tuple[Any, ...]], page: int, page_limit: int, *order_by: ColumnElement[Any]) -> Page:
    """The ``page``-th (from 1) slice of ``query``: entities where it selects one thing, rows otherwise."""
    total = db.session.scalar(query.with_only_columns(func.count(), maintain_column_froms=True)) or 0
    sliced = query.order_by(*order_by).limit(page_limit).offset((page - 1) * page_limit)
    rows = db.session.execute(sliced).all()
    items = [row[0] for row in rows] if len(query.column_descriptions) == 1 else list(rows)
    return Page(items, page, page_limit, total)


@contextmanager
def violations_as(*, taken: Conflict | None = None, gone: ServiceError | None = None) -> Iterator[None]:
    """Raises ``taken`` for a broken unique constraint, and ``gone`` for a row, or the row it belongs to, that was
    deleted meanwhile. Whatever is to break a constraint must be flushed within."""
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
    """For statements past the object mapper, where there is nothing to map."""
    return cast(Table, model.__table__)


def unsynchronized(statement: UpdateBase) -> int:
    """Execute an UPDATE or DELETE past the session's objects. Returns how many rows it changed."""
    result = db.session.execute(statement, execution_options={"synchronize_session": False})
    return cast(CursorResult[Any], result).rowcount


def begin_writing() -> None:
    """Let nobody else write to a SQLite file from here to the end of the transaction.

    Else only the first write begins one, and what was read before may be old. On PostgreSQL, rows are locked instead.
    """
    if not db.is_postgresql and not db.session.connection().connection.driver_connection.in_transaction:  # type: ignore[union-attr]
        db.session.connection().exec_driver_sql("BEGIN IMMEDIATE")


def insert_ignoring_conflicts(into: type[Base] | Table) -> Any:
    """``INSERT … ON CONFLICT DO NOTHING`` in the database's own dialect."""
    dialect = postgresql if db.is_postgresql else sqlite
    return dialect.insert(into).on_conflict_do_nothing()
