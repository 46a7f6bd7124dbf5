from datetime import datetime, timedelta

from sqlalchemy import delete, select, text

from app.errors import EmailTaken, RegistrationClosed
from app.extensions import db
from app.models import RevokedToken, User
from app.models.columns import utcnow
from app.repositories.base import begin_writing, conflicts_as, insert_ignoring_conflicts


def get_by_email(email: str) -> User | None:
    return db.session.scalar(select(User).where(User.email == email))


def exist() -> bool:
    """Whether there is an account."""
    return db.session.scalar(select(User.id).limit(1)) is not None


def lock_first() -> None:
    """Let nobody else make an account until the transaction ends. Raises RegistrationClosed where there is one."""
    begin_writing()
    if db.is_postgresql:
        db.session.execute(text("LOCK TABLE users IN EXCLUSIVE MODE"))
    if exist():
        raise RegistrationClosed


def save(user: User) -> User:
    """Raises EmailTaken."""
    with conflicts_as(taken=EmailTaken()):
        db.session.add(user)
    return user


def revoke_token(token_hash: str, expires_at: datetime) -> None:
    # A day later than need be: another host's clock may be behind.
    db.session.execute(delete(RevokedToken).where(RevokedToken.expires_at < utcnow() - timedelta(days=1)))
    revoked = insert_ignoring_conflicts(RevokedToken)
    db.session.execute(revoked.values(token_hash=token_hash, expires_at=expires_at))
