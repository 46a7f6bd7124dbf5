"""Passwords are kept as hashes that cost an attacker dearly."""

import re

import pytest

from app.security import passwords
from app.security.passwords import hash_password, verify_password

PASSWORD = "correct horse battery staple"


def test_a_hash_is_argon2id_with_the_recommended_costs() -> None:
    assert re.match(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$", hash_password(PASSWORD))


def test_two_hashes_of_one_password_differ() -> None:
    assert hash_password(PASSWORD) != hash_password(PASSWORD)


@pytest.mark.parametrize("password", [PASSWORD, "", " ", "pässwörd \N{PILE OF POO}", "a\x00b", "x" * 1000])
def test_only_the_password_itself_is_accepted(password: str) -> None:
    password_hash = hash_password(password)
    assert verify_password(password_hash, password)
    assert not verify_password(password_hash, password + "x")
    assert not verify_password(password_hash, password[:-1] or "x")
    assert not verify_password(password_hash, password.upper() + " ")


def test_where_there_is_no_hash_no_password_is_right() -> None:
    assert not verify_password(None, PASSWORD)
    assert not verify_password(None, "")


@pytest.mark.parametrize("password_hash", ["", "x", PASSWORD, "$argon2id$v=19$m=19456,t=2,p=1$", "$2b$12$" + "a" * 53])
def test_what_is_no_hash_matches_no_password(password_hash: str) -> None:
    assert not verify_password(password_hash, PASSWORD)


def test_an_unknown_account_costs_as_much_as_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[str] = []
    hasher = passwords._hasher

    class Spy:
        def verify(self, password_hash: str, password: str) -> bool:
            costs.append(password_hash.rpartition("$")[0].rpartition("$")[0])
            return hasher.verify(password_hash, password)

    password_hash = hash_password(PASSWORD)
    monkeypatch.setattr(passwords, "_hasher", Spy())
    assert not verify_password(password_hash, "wrong")
    assert not verify_password(None, "wrong")
    assert costs == ["$argon2id$v=19$m=19456,t=2,p=1"] * 2
