"""Fixtures. What takes ``app`` runs twice: on SQLite and on PostgreSQL."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import delete, text

from app import create_app
from app.cli import make_dispatcher
from app.delivery.dispatcher import Dispatcher
from app.extensions import db, init_migrations
from app.models.columns import utcnow
from tools.databases import postgresql
from tools.fake_discord import Discord
from tools.story import Client, Story

BOT_TOKEN = "canary-bot-token"
JWT_SECRET_KEY = "canary-jwt-secret-key-of-enough-length"
ENCRYPTION_KEY = "canary-encryption-key-of-the-right-length00="

# A shell that runs the tests in the background lets them, and with them what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def discord_server() -> Iterator[Discord]:
    server = Discord(BOT_TOKEN).start()
    yield server
    server.stop()


@pytest.fixture
def discord(discord_server: Discord) -> Discord:
    discord_server.reset()
    return discord_server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty database, not migrated."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/test.sqlite3"
        return
    with postgresql(f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}") as url:
        yield url


@pytest.fixture(scope="session")
def environ(database_url: str, discord_server: Discord) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "DISCORD_API_URL": discord_server.url,
        "DISCORD_BOT_TOKEN": BOT_TOKEN,
        "JWT_SECRET_KEY": JWT_SECRET_KEY,
        "ENCRYPTION_KEYS": ENCRYPTION_KEY,
        "LOG_LEVEL": "DEBUG",
    }


@pytest.fixture(scope="session")
def migrated_app(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    app = create_app(environ, str(tmp_path_factory.mktemp("instance")))
    init_migrations(app)
    with app.app_context():
        upgrade("migrations")
    yield app
    close_connections(app)


def close_connections(app: Flask) -> None:
    with app.app_context():
        db.engine.dispose()
        if db.is_postgresql:
            db.autocommit.dispose()


@pytest.fixture
def app(migrated_app: Flask) -> Iterator[Flask]:
    """The application over an empty database."""
    config = dict(migrated_app.config)
    yield migrated_app
    migrated_app.config.clear()
    migrated_app.config.update(config)
    migrated_app.extensions["counts"].storage.reset()
    with migrated_app.app_context():
        for table in reversed(db.metadata.sorted_tables):
            db.session.execute(delete(table))
        if db.is_postgresql:  # An arrival far above what is counted would look like a backlog.
            db.session.execute(text("ALTER SEQUENCE http_traffic_records_arrival_seq RESTART"))
        db.session.commit()


@pytest.fixture
def make_app(app: Flask, environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Another application over the same database, with other settings."""
    made: list[Flask] = []

    def make(**settings: str) -> Flask:
        made.append(create_app(environ | settings, str(tmp_path)))
        return made[-1]

    yield make
    for other in made:
        close_connections(other)


@pytest.fixture
def client(app: Flask) -> Client:
    """Nobody signed in."""
    return Client(app)


@pytest.fixture
def ana(client: Client) -> Client:
    return client.sign_up("ana@example.com")


@pytest.fixture
def bob(client: Client) -> Client:
    return client.sign_up("bob@example.com")


@pytest.fixture
def story(ana: Client) -> Story:
    """Ana's traffic source, ready to get webhooks and traffic."""
    return Story(ana)


class Clock:
    """The real time, moved on by tests."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utcnow() + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_dispatchers(app: Flask, discord: Discord, clock: Clock) -> Iterator[Callable[[], Dispatcher]]:
    """Dispatchers on the test's clock, without jitter."""
    made: list[Dispatcher] = []

    def make() -> Dispatcher:
        made.append(make_dispatcher(app.config, clock=clock, jitter=lambda: 0.5))
        return made[-1]

    yield make
    for dispatcher in made:
        dispatcher.pool.shutdown()
        dispatcher.client.pool.clear()


@pytest.fixture
def dispatch(app: Flask, make_dispatchers: Callable[[], Dispatcher]) -> Callable[[], int]:
    """Send all that is due; returns how many messages were tried."""
    dispatcher = make_dispatchers()

    def run() -> int:
        with app.app_context():
            return dispatcher.run_until_idle()

    return run
