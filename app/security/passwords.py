"""Password hashes: argon2id with the first parameters of OWASP's Password Storage Cheat Sheet."""

import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.greenlets import run_in_thread

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# Verified if there is no account, so that an unknown e-mail takes the same time as a wrong password.
_NOBODY = _hasher.hash(secrets.token_hex())


def hash_password(password: str) -> str:
    return run_in_thread(_hasher.hash, password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether ``password`` matches the hash. Without a hash: False, after the same time."""
    return run_in_thread(_matches, password_hash or _NOBODY, password) and password_hash is not None


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
