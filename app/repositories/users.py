"""Queries of accounts and revoked sign-in tokens."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select, text

from app.errors import EmailTaken, InvalidToken, RegistrationClosed
from app.extensions import db
from app.models import RevokedToken, User
from app.models.columns import utcnow
from app.repositories.base import begin_writing, insert_ignoring_conflicts, violations_as


def get(user_id: str) -> User:
    """Raises InvalidToken if the account was deleted meanwhile."""
    user = db.session.get(User, user_id)
    if user is None:
        raise InvalidToken
    return user


def get_by_email(email: str) -> User | None:
    return db.session.scalar(select(User).where(User.email == email))


def exist() -> bool:
    """Whether any account exists."""
    return db.session.scalar(select(User.id).limit(1)) is not None


def lock_first() -> None:
    """Block sign-ups of others until the transaction ends. Raises RegistrationClosed if any account exists."""
    begin_writing()
    if db.is_postgresql:
        db.session.execute(text("LOCK TABLE users IN EXCLUSIVE MODE"))
    if exist():
        raise RegistrationClosed


def save(user: User) -> User:
    """Raises EmailTaken."""
    with violations_as(taken=EmailTaken(), gone=InvalidToken()):
        db.session.add(user)
        db.session.flush()
    return user


def revoke_token(token_hash: str, expires_at: datetime) -> None:
    # Keep them a day longer, since another host's clock may be behind.
    db.session.execute(delete(RevokedToken).where(RevokedToken.expires_at < utcnow() - timedelta(days=1)))
    revoked = insert_ignoring_conflicts(RevokedToken)
    db.session.execute(revoked.values(token_hash=token_hash, expires_at=expires_at))
