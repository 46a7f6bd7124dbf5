"""Statements that PostgreSQL prepares once a connection and libpq executes in one call, each a transaction of its own.

For what is called most. SQLAlchemy and psycopg's cursors take several times as long over a statement as PostgreSQL
does, and let other threads run several times meanwhile; this does so once.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

from psycopg import Connection, Error
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import BindParameter, Executable, Float, Numeric, Select, literal_column
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.sql.visitors import replacement_traverse
from sqlalchemy.types import TypeEngine

from app.extensions import AutocommitConnection, db

DIALECT = psycopg.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]

# A statement is planned once, perhaps while the tables are small, and must be as good once they are large.
PLAN_FOR_LARGE_TABLES = (
    b"SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan"
)

Processor = Callable[[Any], Any] | None
_numbers = itertools.count(1)


class Compiled:
    """Takes its parameters by the names of its ``bindparam``s. Raises psycopg's errors, not SQLAlchemy's."""

    def __init__(self, statement: Executable) -> None:
        compiled = _with_constants(statement).compile(dialect=DIALECT)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        self._name = f"compiled_{next(_numbers)}".encode()
        self._sql = compiled.string.encode()
        self._parameters: list[tuple[str, Processor]] = [
            (name, binds[name].type.dialect_impl(DIALECT).bind_processor(DIALECT)) for name in compiled.positiontup
        ]
        self._formats = [PyFormat.TEXT] * len(self._parameters)
        self._columns: list[tuple[str, Processor]] = [
            (column.name, _result_processor(column.type))
            for column in statement.exported_columns  # type: ignore[attr-defined]
        ]

    def execute(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows it returns, by the names of their columns."""
        values = [process(given[name]) if process else given[name] for name, process in self._parameters]
        connection = db.autocommit.take()
        try:
            self._prepare(connection)
            return self._execute(connection.driver, values)
        except Error:
            # Whatever is wrong with it, or with what it has prepared, ends with it.
            connection.driver.close()
            raise
        finally:
            db.autocommit.give_back(connection)

    def _prepare(self, connection: AutocommitConnection) -> None:
        pgconn = connection.driver.pgconn
        if not connection.prepared:
            _check(pgconn.exec_(PLAN_FOR_LARGE_TABLES))
        if self._name not in connection.prepared:
            _check(pgconn.prepare(self._name, self._sql))
            connection.prepared.add(self._name)

    def _execute(self, driver: Connection[Any], values: Sequence[Any]) -> list[dict[str, Any]]:
        transformer = Transformer(driver)
        dumped: Any = transformer.dump_sequence(values, self._formats)
        result = _check(driver.pgconn.exec_prepared(self._name, dumped))
        transformer.set_pgresult(result)
        rows = transformer.load_rows(0, result.ntuples, tuple)
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


def _check(result: PGresult) -> PGresult:
    if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        raise error_from_result(result)
    return result
