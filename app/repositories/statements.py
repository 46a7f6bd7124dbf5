"""Prepared, autocommitted SQL statements for the most frequent operations."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Float, bindparam, text
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.types import TypeEngine

from app.extensions import db

DIALECT = psycopg.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]

PARAMETER = re.compile(r"(?<!:):(\w+)")

Types = Mapping[str, Any]
Processor = Callable[[Any], Any] | None


class Statement:
    """``sql`` with ``:named`` parameters, and the SQLAlchemy types of its parameters and columns.

    On PostgreSQL the driver executes it, prepared once per connection: SQLAlchemy's overhead is several times
    PostgreSQL's own time.
    """

    def __init__(self, sql: str, parameters: Types, columns: Types) -> None:
        used = set(PARAMETER.findall(sql))
        typed = (bindparam(name, type_=type) for name, type in parameters.items() if name in used)
        self._text = text(sql).bindparams(*typed).columns(**columns)
        compiled = self._text.compile(dialect=DIALECT)
        self._sql = compiled.string
        self._parameters = [(name, _bind_processor(parameters.get(name))) for name in compiled.positiontup or ()]
        self._columns = [(name, _result_processor(type)) for name, type in columns.items()]

    def run(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Execute and commit. Returns rows as dictionaries by column. Raises the driver's errors."""
        if db.is_postgresql:
            return self._run_prepared(values)
        with db.engine.begin() as connection:
            return [dict(row) for row in connection.execute(self._text, dict(values)).mappings()]

    def _run_prepared(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        given = [process(values[name]) if process else values[name] for name, process in self._parameters]
        pooled = db.autocommit.connect()
        try:
            rows = pooled.driver_connection.execute(self._sql, given, prepare=True).fetchall()  # type: ignore[union-attr]
        except BaseException:
            pooled.invalidate()
            raise
        finally:
            pooled.close()
        return [
            {
                name: process(value) if process else value
                for value, (name, process) in zip(row, self._columns, strict=True)
            }
            for row in rows
        ]


def _bind_processor(type: TypeEngine[Any] | None) -> Processor:
    return type.dialect_impl(DIALECT).bind_processor(DIALECT) if type else None


def _result_processor(type: TypeEngine[Any]) -> Processor:
    if isinstance(type, Float):
        return None  # The driver already loads floats.
    return type.dialect_impl(DIALECT).result_processor(DIALECT, None)
