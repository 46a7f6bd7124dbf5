"""Alembic's environment: runs the migrations on the application's engine, models and logging."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from flask import current_app
from sqlalchemy import Connection, TypeDecorator

extension = current_app.extensions["migrate"]


def render_item(kind: str, item: Any, _autogen_context: AutogenContext) -> str | Literal[False]:
    """Render the application's column types by their SQLAlchemy type, so that migrations do not depend on them."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


def set_foreign_keys(connection: Connection, state: str) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA foreign_keys = {state}")
        connection.commit()


with extension.db.engine.connect() as connection:
    # On SQLite, Alembic copies and drops a table to alter it, which must not cascade to other tables.
    set_foreign_keys(connection, "OFF")
    context.configure(
        connection=connection,
        target_metadata=extension.db.metadata,
        render_item=render_item,
        # Locks of several tables, held until the last migration, would deadlock with hosts that go on working.
        transaction_per_migration=True,
        **extension.configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()
    set_foreign_keys(connection, "ON")
