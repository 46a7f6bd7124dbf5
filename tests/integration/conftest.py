"""Passwords cost next to nothing here: every test signs somebody in, and none is about what a hash costs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from sqlalchemy import event

from app.extensions import db
from tests.integration.pages import Person
from tools.story import Client

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.security.passwords._hasher", CHEAP)


@pytest.fixture
def person(app: Flask, ana: Client) -> Person:
    """Ana at her browser, signed in."""
    person = Person(app)
    person.sign_in()
    return person


@pytest.fixture
def away(make_app, database_url, tmp_path) -> Client:
    """A client of a service whose database cannot be reached."""
    url = f"sqlite:///{tmp_path}/none/none.sqlite3"
    if database_url.startswith("postgresql"):
        url = "postgresql://canary-user:canary-password@127.0.0.1:1/none"
    return Client(make_app(DATABASE_URL=url))


@pytest.fixture
def metrics(client: Client) -> Callable[[], dict[str, float]]:
    """The series by name and labels, as /metrics shows them now."""

    def read() -> dict[str, float]:
        answer = client.get("/metrics")
        assert answer.status_code == 200
        assert answer.content_type.startswith("text/plain; version=")
        lines = [line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    return read


@pytest.fixture
def gained(metrics: Callable[[], dict[str, float]]) -> Callable[[str], float]:
    """By how much each series grew since the test began."""
    before = metrics()

    def read(name: str) -> float:
        return metrics().get(name, 0.0) - before.get(name, 0.0)

    return read


@pytest.fixture
def statements(app: Flask) -> Iterator[list[Any]]:
    """The statements of the session, with their parameters."""
    seen: list[Any] = []

    def note(connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> None:
        seen.append((sql, parameters))

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", note)
    yield seen
    with app.app_context():
        event.remove(db.engine, "before_cursor_execute", note)
