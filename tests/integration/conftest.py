"""Passwords cost next to nothing here: every test signs somebody in, and none is about what a hash costs."""

import pytest
from argon2 import PasswordHasher

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.passwords._hasher", CHEAP)
