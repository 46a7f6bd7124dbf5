"""The extensions, made once and bound to the application by ``create_app``."""

import select
import sqlite3
from time import monotonic
from typing import Any, cast

import psycopg
from flask import Flask, current_app
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, MetaData, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import Pool
from werkzeug.local import LocalProxy

from app.encryption import KeyRing

# Seconds after which an idle connection is looked at before it is used again.
UNSEEN = 0.5


class Base(DeclarativeBase):
    """Base of every model. Constraints get predictable names, so migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Database(SQLAlchemy):
    @property
    def is_postgresql(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    @property
    def autocommit_engine(self) -> Engine:
        """PostgreSQL's, where every statement is a transaction: that saves the round trips of BEGIN and COMMIT."""
        return self.engines["autocommit"]


# expire_on_commit would cost a SELECT for every object a view answers with.
db = Database(model_class=Base, session_options={"expire_on_commit": False})
jwt = JWTManager()
# The keys of the current application.
keyring = cast(KeyRing, LocalProxy(lambda: current_app.extensions["keyring"]))


def init_migrations(app: Flask) -> None:
    """For who migrates. Alembic takes 10 MB, which no server needs."""
    from flask_migrate import Migrate  # noqa: PLC0415

    Migrate(app, db)


@event.listens_for(Engine, "connect")
def configure_sqlite(connection: Any, _record: object) -> None:
    """WAL lets readers and one writer work at once; the default synchronous=FULL keeps every commit on disk."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")


@event.listens_for(Pool, "checkin")
def note_use(_connection: Any, record: Any) -> None:
    record.info["used_at"] = monotonic()


@event.listens_for(Pool, "checkout")
def discard_if_closed(connection: Any, record: Any, _proxy: object) -> None:
    """A server that went away said so on the connection: seeing that costs no round trip, as pool_pre_ping does.

    While requests follow each other closely even a look costs too much: it lets other threads run first.
    """
    if not isinstance(connection, psycopg.Connection):
        return
    rested = monotonic() - record.info.get("used_at", 0.0) > UNSEEN
    if connection.closed or (rested and _has_something_to_say(connection)):
        raise DisconnectionError


def _has_something_to_say(idle_connection: psycopg.Connection[Any]) -> bool:
    poll = select.poll()
    poll.register(idle_connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
