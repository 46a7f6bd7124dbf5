from datetime import datetime

from sqlalchemy import delete, select

from app.errors import EmailTaken
from app.extensions import db
from app.models import RevokedToken, User
from app.models.columns import utcnow
from app.repositories.base import conflicts_as, insert_ignoring_conflicts


def get_by_email(email: str) -> User | None:
    return db.session.scalar(select(User).where(User.email == email))


def save(user: User) -> User:
    """Raises EmailTaken."""
    with conflicts_as(taken=EmailTaken()):
        db.session.add(user)
    return user


def revoke_token(token_hash: str, expires_at: datetime) -> None:
    db.session.execute(delete(RevokedToken).where(RevokedToken.expires_at < utcnow()))
    revoked = insert_ignoring_conflicts(RevokedToken)
    db.session.execute(revoked.values(token_hash=token_hash, expires_at=expires_at))
