"""Queries of accounts and revoked sign-in tokens."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sql
from sqlalchemy import Row, func, select, text

from app.errors import EmailTaken, InvalidToken, RegistrationClosed
from app.extensions import db
from app.models import RevokedToken, TrafficSource, User
from app.models.columns import utcnow
from app.repositories.base import begin_writing, insert_ignoring_conflicts, unsynchronized, violations_as


def get(user_id: str) -> User:
    """Raises InvalidToken if the account was deleted meanwhile."""
    user = db.session.get(User, user_id)
    if user is None:
        raise InvalidToken
    return user


def get_all(user_ids: Sequence[str]) -> dict[str, User]:
    """The users by id."""
    return {user.id: user for user in db.session.scalars(select(User).where(User.id.in_(user_ids)))}


def get_by_email(email: str) -> User | None:
    return db.session.scalar(select(User).where(User.email == email))


def overview() -> Sequence[Row[*tuple[Any, ...]]]:
    """``email``, ``name``, ``sources`` (their number) and ``created_at`` of each account, oldest first."""
    query = select(User.email, User.name, func.count(TrafficSource.id).label("sources"), User.created_at)
    return db.session.execute(query.outerjoin(TrafficSource).group_by(User.id).order_by(User.id)).all()


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


def confirm_email_and_commit(user: User) -> None:
    """Note that somebody signed in with this e-mail and the password."""
    if not user.email_confirmed:
        there = sql.update(User).where(User.id == user.id, User.email == user.email)
        unsynchronized(there.values(email_confirmed=True, updated_at=User.updated_at))
        db.session.commit()


def lock(user_id: str) -> None:
    """Let nobody add sources to the account until the transaction ends."""
    begin_writing()
    db.session.execute(select(User.id).where(User.id == user_id).with_for_update())


def delete(user_id: str) -> None:
    """Delete the account, its password links and its count of refusals. Its sources must be deleted."""
    unsynchronized(sql.delete(User).where(User.id == user_id))


def save(user: User) -> User:
    """Raises EmailTaken."""
    with violations_as(taken=EmailTaken(), gone=InvalidToken()):
        db.session.add(user)
        db.session.flush()
    return user


def revoke_all_tokens(user: User) -> None:
    user.token_version += 1
    save(user)


def revoke_token(token_hash: str, expires_at: datetime) -> None:
    # Keep them a day longer, since another host's clock may be behind.
    db.session.execute(sql.delete(RevokedToken).where(RevokedToken.expires_at < utcnow() - timedelta(days=1)))
    revoked = insert_ignoring_conflicts(RevokedToken)
    db.session.execute(revoked.values(token_hash=token_hash, expires_at=expires_at))
