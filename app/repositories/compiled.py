"""Statements compiled once and executed by PostgreSQL's driver, each a transaction of its own.

For what is called most: SQLAlchemy takes several times as long to execute a statement as PostgreSQL does.
"""

from typing import Any

from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql import psycopg

from app.extensions import db

DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]


class Compiled:
    """Takes its parameters by the names of its ``bindparam``s. Raises psycopg's errors, not SQLAlchemy's."""

    def __init__(self, statement: Executable) -> None:
        compiled = statement.compile(dialect=DIALECT)  # type: ignore[attr-defined]
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        processors = {name: bind.type.dialect_impl(DIALECT).bind_processor(DIALECT) for name, bind in binds.items()}
        self.sql = compiled.string
        self.constants = {name: bind.value for name, bind in binds.items() if not bind.required}
        self.processors = {name: process for name, process in processors.items() if process}

    def fetch_one(self, parameters: dict[str, Any]) -> tuple[Any, ...] | None:
        values = self.constants | parameters
        for name, process in self.processors.items():
            values[name] = process(values[name])
        connection = db.autocommit_engine.raw_connection()
        try:
            row: tuple[Any, ...] | None = connection.driver_connection.execute(self.sql, values).fetchone()  # type: ignore[union-attr]
        finally:
            connection.close()
        return row
