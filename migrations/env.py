"""Run by Alembic: the migrations work on the application's own engine and models, and under its logging."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from flask import current_app
from sqlalchemy import Connection, TypeDecorator

extension = current_app.extensions["migrate"]


def render_item(kind: str, item: Any, _autogen_context: AutogenContext) -> str | Literal[False]:
    """Migrations name no type of ours, so that they outlive it."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


def set_foreign_keys(connection: Connection, state: str) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA foreign_keys = {state}")
        connection.commit()


with extension.db.engine.connect() as connection:
    # SQLite alters a table by copying and dropping it, which must not delete the rows that refer to it.
    set_foreign_keys(connection, "OFF")
    context.configure(
        connection=connection,
        target_metadata=extension.db.metadata,
        render_item=render_item,
        **extension.configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()
    set_foreign_keys(connection, "ON")
