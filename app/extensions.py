"""The Flask extensions, the pool of autocommit connections, and the connection settings of both databases."""

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

from app import greenlets, latencies
from app.config import END_LOST_SESSIONS, MAX_CONNECTIONS, WAIT_SECONDS
from app.security.keyring import KeyRing

# Check for a server-side close before reusing a connection that was idle for longer.
IDLE_CHECK_SECONDS = 0.5
# SQLite's write lock: how long a request waits for it, and the pause between two attempts.
SQLITE_WAIT_SECONDS = 30
SQLITE_PAUSE_SECONDS = 0.005

# Prepared statements are planned once, perhaps while tables are small: choose plans that suit large tables, whose
# frequent rows are in memory.
PLAN_FOR_LARGE_TABLES = (
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET random_page_cost = 1.1;"
    " SET plan_cache_mode = force_generic_plan"
)


class Base(DeclarativeBase):
    """Base of every model. Constraints get predictable names, for migrations to use."""

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
    """Flask-SQLAlchemy with a second pool of autocommit connections on PostgreSQL."""

    def init_app(self, app: Flask) -> None:
        super().init_app(app)
        url, options = app.config["SQLALCHEMY_DATABASE_URI"], app.config["SQLALCHEMY_ENGINE_OPTIONS"]
        if url.get_backend_name() == "postgresql":
            app.extensions["autocommit"] = autocommit_pool(url, options["connect_args"])
        if greenlets.are_used() and url.get_backend_name() == "sqlite":
            with app.app_context():
                event.listen(self.engine, "connect", disable_busy_timeout)
                event.listen(self.engine, "do_execute", execute_waiting)
                event.listen(self.engine, "do_executemany", execute_many_waiting)

    @property
    def is_postgresql(self) -> bool:
        return bool(current_app.config["SQLALCHEMY_DATABASE_URI"].get_backend_name() == "postgresql")

    @property
    def autocommit(self) -> QueuePool:
        """The pool of autocommit connections, for prepared statements. PostgreSQL only."""
        return cast(QueuePool, current_app.extensions["autocommit"])


def autocommit_pool(url: URL, options: dict[str, Any]) -> QueuePool:
    """A pool in LIFO order, so that connections with prepared statements are reused first."""
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)

    def connect() -> psycopg.Connection[Any]:
        connection: psycopg.Connection[Any] = psycopg.connect(
            conninfo, autocommit=True, cursor_factory=psycopg.RawCursor, **options
        )
        try:
            connection.execute(PLAN_FOR_LARGE_TABLES)
            connection.execute(END_LOST_SESSIONS)
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


# expire_on_commit would cost a SELECT for each object that a view answers with.
db = Database(model_class=Base, session_options={"expire_on_commit": False})
jwt = JWTManager()
# The keys of the current application.
keyring = cast(KeyRing, LocalProxy(lambda: current_app.extensions["keyring"]))


def init_migrations(app: Flask) -> None:
    """Load Flask-Migrate, for commands only: Alembic takes 10 MB of memory."""
    from flask_migrate import Migrate  # noqa: PLC0415

    Migrate(app, db)


@event.listens_for(Engine, "do_connect")
def keep_sqlite_private(dialect: Any, _record: object, arguments: list[Any], _options: object) -> None:
    """Create a missing file with mode 0600, which SQLite copies for its -wal and -shm files.

    An existing file is not even opened: closing it would drop this process's locks on it, see
    https://www.sqlite.org/howtocorrupt.html.
    """
    if dialect.name == "sqlite" and arguments[0] != ":memory:":
        with suppress(OSError):
            os.close(os.open(arguments[0], os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


@event.listens_for(Engine, "connect")
def configure_postgresql(connection: Any, _record: object) -> None:
    if isinstance(connection, psycopg.Connection):
        connection.execute(END_LOST_SESSIONS)
        connection.commit()


@event.listens_for(Engine, "connect")
def configure_sqlite(connection: Any, _record: object) -> None:
    """Turn on WAL, for readers beside a writer; synchronous stays FULL, so that each commit is durable.

    Adds ``latency_bucket``, for which PostgreSQL has ``width_bucket``.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.create_function("latency_bucket", 1, latencies.bucket, deterministic=True)


def disable_busy_timeout(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout = 0")


def execute_waiting(cursor: sqlite3.Cursor, statement: str, parameters: Any, _context: object) -> bool:
    wait_for_write_lock(cursor, lambda: cursor.execute(statement, parameters))
    return True


def execute_many_waiting(cursor: sqlite3.Cursor, statement: str, parameters: Any, _context: object) -> bool:
    wait_for_write_lock(cursor, lambda: cursor.executemany(statement, parameters))
    return True


def wait_for_write_lock(cursor: sqlite3.Cursor, execute: Callable[[], object]) -> None:
    """Wait for SQLite's write lock in this greenlet: SQLite's busy_timeout would block all requests of the worker.

    Never waits inside a transaction, whose lock would then hold up all writers.
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
        # time.sleep is looked up here, since gevent patches it after this module is imported.
        time.sleep(SQLITE_PAUSE_SECONDS)


@event.listens_for(Pool, "checkin")
def note_use(_connection: Any, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


@event.listens_for(Pool, "checkout")
def discard_if_closed(connection: Any, record: Any, _proxy: object) -> None:
    if isinstance(connection, psycopg.Connection) and not is_usable(connection, record.info.get("used_at", 0.0)):
        raise DisconnectionError


def is_usable(connection: psycopg.Connection[Any], used_at: float) -> bool:
    """Whether the server closed the connection, by polling its socket: pool_pre_ping would cost a round trip.

    Skipped for a connection used within IDLE_CHECK_SECONDS, since a poll yields to other greenlets.
    """
    rested = time.monotonic() - used_at > IDLE_CHECK_SECONDS
    return not (connection.closed or (rested and _is_readable(connection)))


def _is_readable(idle_connection: psycopg.Connection[Any]) -> bool:
    poll = select.poll()
    poll.register(idle_connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
