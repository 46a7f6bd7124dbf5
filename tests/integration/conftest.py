"""Passwords cost next to nothing here: every test signs somebody in, and none is about what a hash costs."""

import pytest
from argon2 import PasswordHasher

from tools.story import Client

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.security.passwords._hasher", CHEAP)


@pytest.fixture
def away(make_app, database_url, tmp_path) -> Client:
    """A client of a service whose database cannot be reached."""
    url = f"sqlite:///{tmp_path}/none/none.sqlite3"
    if database_url.startswith("postgresql"):
        url = "postgresql://canary-user:canary-password@127.0.0.1:1/none"
    return Client(make_app(DATABASE_URL=url))
