"""Wakes a dispatcher after commits: by LISTEN on PostgreSQL, by PRAGMA data_version on SQLite.

The dispatcher also polls, in case a wake is lost.
"""

import logging
import sqlite3
from collections.abc import Callable
from threading import Event, Thread
from typing import Any, cast

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from app.repositories.outbox import NOTIFY_CHANNEL

log = logging.getLogger(__name__)

SQLITE_POLL_SECONDS = 0.03
RECONNECT_SECONDS = 1.0


def start_waker(engine: Engine, wake: Callable[[], None], stopping: Event) -> Thread:
    """Start a thread that calls ``wake`` after commits, until ``stopping`` is set."""
    watch = _listen if engine.dialect.name == "postgresql" else _watch_file
    thread = Thread(target=watch, args=(engine, wake, stopping), name="waker", daemon=True)
    thread.start()
    return thread


def _listen(engine: Engine, wake: Callable[[], None], stopping: Event) -> None:
    while not stopping.is_set():
        try:
            with connect(engine) as connection:
                connection.execute(f"LISTEN {NOTIFY_CHANNEL}")
                wake()
                while not stopping.is_set():
                    for _ in connection.notifies(timeout=1.0, stop_after=1):
                        wake()
        except (psycopg.Error, DBAPIError):
            log.warning("The connection that listens for new deliveries broke; polling until it is back.")
            stopping.wait(RECONNECT_SECONDS)


def connect(engine: Engine) -> "psycopg.Connection[Any]":
    """A connection with the engine's options, such as the timeouts that notice a lost host, but outside its pool."""
    pooled = engine.raw_connection()
    connection = cast("psycopg.Connection[Any]", pooled.driver_connection)
    pooled.detach()
    connection.autocommit = True
    return connection


def _watch_file(engine: Engine, wake: Callable[[], None], stopping: Event) -> None:
    """Poll PRAGMA data_version, which changes when another connection commits and costs microseconds."""
    connection = sqlite3.connect(engine.url.database or "", timeout=30)
    seen = None
    while not stopping.wait(SQLITE_POLL_SECONDS):
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != seen:
            seen = version
            wake()
    connection.close()
