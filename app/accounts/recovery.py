"""Forgotten passwords: links that set a new one, good once and for an hour."""

import hashlib
import secrets
from datetime import timedelta

from flask import current_app

from app.errors import UnusableLink
from app.extensions import db
from app.models import PasswordLink, User
from app.models.columns import utcnow
from app.repositories import password_links
from app.security.passwords import hash_password

VALID_FOR = timedelta(hours=1)


def new_link(user: User) -> str:
    """A link to the console's page that sets a new password of ``user``. The caller commits."""
    token = secrets.token_urlsafe(32)
    password_links.add(
        PasswordLink(
            token_hash=_hash(token),
            user_id=user.id,
            email=user.email,
            token_version=user.token_version,
            expires_at=utcnow() + VALID_FOR,
        )
    )
    return f"{_service_url()}/console/reset-password/{token}"


def check(token: str) -> None:
    """Raises UnusableLink."""
    if not password_links.is_usable(_hash(token), utcnow()):
        raise UnusableLink


def change_password_and_commit(token: str, password: str) -> None:
    """Set the password, and revoke all of the user's sign-in tokens and other links. Raises UnusableLink."""
    check(token)
    db.session.commit()  # Hold no connection while the password is hashed.
    password_links.use(_hash(token), hash_password(password), utcnow())
    db.session.commit()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _service_url() -> str:
    """Never built from a request, whose Host header anybody can forge."""
    config = current_app.config
    host = f"[{config['HOST']}]" if ":" in config["HOST"] else config["HOST"]
    return config["PUBLIC_URL"] or f"http://{host}:{config['PORT']}"
