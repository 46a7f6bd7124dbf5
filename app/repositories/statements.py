"""Statements that PostgreSQL prepares once a connection, each a transaction of its own.

For what is called most: SQLAlchemy takes several times as long over a statement as PostgreSQL does.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

from sqlalchemy import BindParameter, Executable, Float, Numeric, Select, literal_column
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.sql.visitors import replacement_traverse
from sqlalchemy.types import TypeEngine

from app.extensions import db

DIALECT = psycopg.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]

Processor = Callable[[Any], Any] | None


class Compiled:
    """Takes its parameters by the names of its ``bindparam``s. Raises psycopg's errors, not SQLAlchemy's."""

    def __init__(self, statement: Executable) -> None:
        compiled = _with_constants(statement).compile(dialect=DIALECT)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        self._sql = compiled.string
        self._parameters: list[tuple[str, Processor]] = [
            (name, binds[name].type.dialect_impl(DIALECT).bind_processor(DIALECT)) for name in compiled.positiontup
        ]
        self._columns: list[tuple[str, Processor]] = [
            (column.name, _result_processor(column.type))
            for column in statement.exported_columns  # type: ignore[attr-defined]
        ]

    def execute(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows it returns, by the names of their columns."""
        values = [process(given[name]) if process else given[name] for name, process in self._parameters]
        with db.autocommit.taken() as connection:
            rows = connection.execute(self._sql, values, prepare=True).fetchall()
        return [
            {
                name: process(value) if process else value
                for value, (name, process) in zip(row, self._columns, strict=True)
            }
            for row in rows
        ]


def _result_processor(type: TypeEngine[Any]) -> Processor:
    """None for numbers: those the driver loads as they are."""
    return None if isinstance(type, Float | Numeric) else type.dialect_impl(DIALECT).result_processor(DIALECT, None)


def fetch_all(build: Callable[..., Select[Any]], *shape: Any, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the query that ``build`` makes of ``shape``, compiled once for each; on SQLite by SQLAlchemy."""
    if db.is_postgresql:
        return _compiled(build, *shape).execute(parameters)
    return [dict(row) for row in db.session.execute(_built(build, *shape), dict(parameters)).mappings()]


@cache
def _built(build: Callable[..., Select[Any]], *shape: Any) -> Select[Any]:
    return build(*shape)


@cache
def _compiled(build: Callable[..., Select[Any]], *shape: Any) -> Compiled:
    return Compiled(build(*shape))


def _with_constants(statement: Executable) -> Any:
    """With all values that are known already in its text, where PostgreSQL sees which partial index holds the rows."""

    def written_out(element: Any, **_: Any) -> Any:
        if not isinstance(element, BindParameter) or element.required:
            return None
        write: Any = element.type.dialect_impl(DIALECT).literal_processor(DIALECT)
        return literal_column(write(element.value), element.type)

    return replacement_traverse(cast(Any, statement), {}, written_out)
