"""Every test gets a service of its own. Its database is SQLite unless the test is run ``on_both_databases``."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.conftest import BOT_TOKEN, ENCRYPTION_KEY, JWT_SECRET_KEY
from tools.databases import postgresql
from tools.fake_discord import Discord
from tools.processes import Service

SECRETS = {"DISCORD_BOT_TOKEN": BOT_TOKEN, "JWT_SECRET_KEY": JWT_SECRET_KEY, "ENCRYPTION_KEYS": ENCRYPTION_KEY}


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite3"
    Service(file.parent, SECRETS | {"DATABASE_URL": f"sqlite:///{file}"}).migrate()
    return file


@pytest.fixture(scope="session")
def migrated_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql(f"e2e_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}") as url:
        Service(tmp_path_factory.mktemp("postgresql"), SECRETS | {"DATABASE_URL": url}).migrate()
        yield url


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that is migrated and empty."""
    if getattr(request, "param", "sqlite") == "sqlite":
        file = shutil.copy(request.getfixturevalue("migrated_file"), tmp_path)
        return f"sqlite:///{file}"
    url: str = request.getfixturevalue("migrated_postgresql")
    empty(url)
    return url


def empty(url: str) -> None:
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        )
        names = [sql.Identifier(name) for (name,) in tables]
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(names)))


@pytest.fixture
def service(database: str, discord: Discord, tmp_path: Path) -> Iterator[Service]:
    """The service, not started."""
    service = Service(tmp_path, SECRETS | {"DATABASE_URL": database, "DISCORD_API_URL": discord.url})
    try:
        yield service
    finally:
        service.stop()
        print(service.log)
