"""The extensions, made once and bound to the application by ``create_app``."""

import os
import select
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import psycopg
from flask import Flask, current_app
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import URL, Engine, MetaData, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import Pool, QueuePool
from werkzeug.local import LocalProxy

from app import greenlets
from app.security.keyring import KeyRing

# Check for a server-side close before reusing a connection that was idle for longer.
IDLE_CHECK_SECONDS = 0.5
# Autocommitting connections of a process, and how long a request waits for one that others have.
MAX_CONNECTIONS = 8
WAIT_SECONDS = 10
# How long a request waits until another process has written to SQLite, and how long between two looks.
SQLITE_WAIT_SECONDS = 30
SQLITE_PAUSE_SECONDS = 0.005

# A statement is planned once, perhaps while the tables are small, and must be as good once they are large.
PLAN_FOR_LARGE_TABLES = (
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan"
)


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
    def init_app(self, app: Flask) -> None:
        super().init_app(app)
        url, options = app.config["SQLALCHEMY_DATABASE_URI"], app.config["SQLALCHEMY_ENGINE_OPTIONS"]
        if url.get_backend_name() == "postgresql":
            app.extensions["autocommit"] = autocommit_pool(url, options["connect_args"])
        if greenlets.are_used() and url.get_backend_name() == "sqlite":
            with app.app_context():
                event.listen(self.engine, "connect", never_wait)
                event.listen(self.engine, "do_execute", execute_in_turn)
                event.listen(self.engine, "do_executemany", execute_many_in_turn)

    @property
    def is_postgresql(self) -> bool:
        return bool(current_app.config["SQLALCHEMY_DATABASE_URI"].get_backend_name() == "postgresql")

    @property
    def autocommit(self) -> QueuePool:
        """Connections for single prepared statements, each a transaction of its own. PostgreSQL only."""
        return cast(QueuePool, current_app.extensions["autocommit"])


def autocommit_pool(url: URL, options: dict[str, Any]) -> QueuePool:
    """The connection used last, whose statements are prepared, is taken first."""
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)

    def connect() -> psycopg.Connection[Any]:
        connection: psycopg.Connection[Any] = psycopg.connect(
            conninfo, autocommit=True, cursor_factory=psycopg.RawCursor, **options
        )
        try:
            connection.execute(PLAN_FOR_LARGE_TABLES)
        except BaseException:
            connection.close()
            raise
        return connection

    return QueuePool(
        connect,  # type: ignore[arg-type]
        pool_size=MAX_CONNECTIONS,
        max_overflow=0,
        timeout=WAIT_SECONDS,
        use_lifo=True,
        reset_on_return=None,
    )


# expire_on_commit would cost a SELECT for every object a view answers with.
db = Database(model_class=Base, session_options={"expire_on_commit": False})
jwt = JWTManager()
# The keys of the current application.
keyring = cast(KeyRing, LocalProxy(lambda: current_app.extensions["keyring"]))


def init_migrations(app: Flask) -> None:
    """For who migrates. Alembic takes 10 MB, which no server needs."""
    from flask_migrate import Migrate  # noqa: PLC0415

    Migrate(app, db)


@event.listens_for(Engine, "do_connect")
def keep_sqlite_private(dialect: Any, _record: object, arguments: list[Any], _options: object) -> None:
    """A new file is made for its owner only: it holds password hashes and reported traffic. SQLite would ask the umask.

    The files that SQLite makes beside it get the same mode. A file that is there must not even be opened: closing it
    would drop the locks of this process on it, see "How To Corrupt" in https://www.sqlite.org/howtocorrupt.html.
    """
    if dialect.name == "sqlite" and arguments[0] != ":memory:":
        with suppress(OSError):
            os.close(os.open(arguments[0], os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


@event.listens_for(Engine, "connect")
def configure_sqlite(connection: Any, _record: object) -> None:
    """WAL lets readers and one writer work at once; the default synchronous=FULL keeps every commit on disk."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")


def never_wait(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout = 0")


def execute_in_turn(cursor: sqlite3.Cursor, statement: str, parameters: Any, _context: object) -> bool:
    in_turn(cursor, lambda: cursor.execute(statement, parameters))
    return True


def execute_many_in_turn(cursor: sqlite3.Cursor, statement: str, parameters: Any, _context: object) -> bool:
    in_turn(cursor, lambda: cursor.executemany(statement, parameters))
    return True


def in_turn(cursor: sqlite3.Cursor, execute: Callable[[], object]) -> None:
    """Where another process writes: SQLite itself would wait in the one thread that all requests share.

    Only what begins a transaction waits. Nothing may wait within one that writes: all writers would wait for it.
    """
    until = time.monotonic() + SQLITE_WAIT_SECONDS
    while True:
        try:
            execute()
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or cursor.connection.in_transaction or time.monotonic() > until:
                raise
        # Looked up here: in gunicorn's own process, where this is imported, it is not gevent's yet.
        time.sleep(SQLITE_PAUSE_SECONDS)


@event.listens_for(Pool, "checkin")
def note_use(_connection: Any, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


@event.listens_for(Pool, "checkout")
def discard_if_closed(connection: Any, record: Any, _proxy: object) -> None:
    if isinstance(connection, psycopg.Connection) and not is_usable(connection, record.info.get("used_at", 0.0)):
        raise DisconnectionError


def is_usable(connection: psycopg.Connection[Any], used_at: float) -> bool:
    """A server that went away said so on the connection: seeing that costs no round trip, as pool_pre_ping does.

    While requests follow each other closely even a look costs too much: it lets other requests run first.
    """
    rested = time.monotonic() - used_at > IDLE_CHECK_SECONDS
    return not (connection.closed or (rested and _has_something_to_say(connection)))


def _has_something_to_say(idle_connection: psycopg.Connection[Any]) -> bool:
    poll = select.poll()
    poll.register(idle_connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
