"""Queries of links that set a new password."""

from datetime import datetime

from sqlalchemy import ColumnElement, delete, select, update

from app.errors import UnusableLink
from app.extensions import db
from app.models import PasswordLink, User
from app.models.columns import utcnow
from app.repositories.base import unsynchronized


def add(link: PasswordLink) -> None:
    """Add a link, and delete those that have expired."""
    unsynchronized(delete(PasswordLink).where(PasswordLink.expires_at <= utcnow()))
    db.session.add(link)
    db.session.flush()


def is_usable(token_hash: str, now: datetime) -> bool:
    return db.session.scalar(select(User.id).where(_opens(token_hash, now))) is not None


def use(token_hash: str, password_hash: str, now: datetime) -> None:
    """Set the user's password, revoke all sign-in tokens, and delete the user's links. Raises UnusableLink.

    The new token version makes every link unusable, so of two uses at once, one finds none.
    """
    changes = {"password_hash": password_hash, "token_version": User.token_version + 1}
    if not unsynchronized(update(User).where(_opens(token_hash, now)).values(changes)):
        raise UnusableLink
    user_id = select(PasswordLink.user_id).where(PasswordLink.token_hash == token_hash)
    unsynchronized(delete(PasswordLink).where(PasswordLink.user_id.in_(user_id.scalar_subquery())))


def _opens(token_hash: str, now: datetime) -> ColumnElement[bool]:
    """Whether the link is of this user, and neither e-mail nor password changed since it was made."""
    return (
        select(PasswordLink.token_hash)
        .where(
            PasswordLink.token_hash == token_hash,
            PasswordLink.expires_at > now,
            PasswordLink.user_id == User.id,
            PasswordLink.email == User.email,
            PasswordLink.token_version == User.token_version,
        )
        .exists()
    )
