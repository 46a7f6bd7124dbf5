"""Signs users up, checks credentials and changes accounts, for the API's views and the console's."""

from typing import Any

from flask import current_app

from app.api import rate_limits
from app.errors import InvalidCredentials, RegistrationClosed, WrongCurrentPassword
from app.extensions import db
from app.models import User
from app.repositories import users
from app.security.passwords import hash_password, verify_password

# Bodies that need no token. Strangers could send them on all connections of a worker at once, so they are small, and
# leave room for reports.
MAX_PUBLIC_BODY_BYTES = 128 * 1024


def is_registration_open() -> bool:
    registration = current_app.config["REGISTRATION"]
    return registration == "open" or (registration == "first" and not users.exist())


def sign_up_and_commit(body: dict[str, Any]) -> User:
    """Raises RegistrationClosed, TooManyRequests, EmailTaken."""
    if not is_registration_open():
        raise RegistrationClosed
    rate_limits.claim_email(body["email"])
    db.session.commit()  # Hold no connection while the password is hashed.
    password_hash = hash_password(body.pop("password"))
    if current_app.config["REGISTRATION"] == "first":
        users.lock_first()
    user = users.save(User(**body, password_hash=password_hash))
    db.session.commit()
    return user


def check_credentials_and_commit(body: dict[str, Any]) -> User:
    """The user whose e-mail and password these are. Raises TooManyRequests, InvalidCredentials."""
    with rate_limits.password_attempt(body["email"]):
        user = users.get_by_email(body["email"])
        db.session.commit()  # Return the connection to the pool: verifying a password takes long.
        if not verify_password(user.password_hash if user else None, body["password"]) or user is None:
            raise InvalidCredentials
    users.confirm_email_and_commit(user)
    return user


def change_and_commit(user: User, changes: dict[str, Any]) -> User:
    """Raises TooManyRequests, WrongCurrentPassword, EmailTaken."""
    if changes.get("email", user.email) != user.email:
        rate_limits.claim_email(changes["email"])
        changes["email_confirmed"] = "current_password" in changes
    db.session.commit()  # Hold no connection while passwords are hashed.
    _change_password(user, changes.pop("current_password", None), changes.pop("password", None))
    for name, value in changes.items():
        setattr(user, name, value)
    users.save(user)
    db.session.commit()
    return user


def confirm_password(user: User, password: str) -> None:
    """Raises TooManyRequests, WrongCurrentPassword."""
    with rate_limits.password_attempt(user.email):
        if not verify_password(user.password_hash, password):
            raise WrongCurrentPassword


def _change_password(user: User, current: str | None, new: str | None) -> None:
    if current is not None:
        confirm_password(user, current)
    if new is not None:
        user.password_hash = hash_password(new)
        user.token_version += 1
