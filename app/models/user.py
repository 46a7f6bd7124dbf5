"""Accounts, revoked sign-in tokens, and links that set a new password."""

import hashlib
from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import Identifier, TimestampedMixin, UTCDateTime


class User(TimestampedMixin, Base):
    """An account. ``email`` is stored in lower case, so that it is unique in any case."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    # False after a change of e-mail without the password, until the next sign-in with it: no link to set a password is
    # mailed there, since a thief of a sign-in token could have made that change.
    email_confirmed: Mapped[bool] = mapped_column(default=True)
    utc: Mapped[float] = mapped_column(default=0.0)
    # A claim of every sign-in token; a new password increments it, which revokes all older tokens.
    token_version: Mapped[int] = mapped_column(default=0)

    role = "user"

    @property
    def avatar_url(self) -> str:
        """The URL of the user's Gravatar, with an identicon as the default."""
        digest = hashlib.sha256(self.email.encode()).hexdigest()
        return f"https://www.gravatar.com/avatar/{digest}?d=identicon"


class RevokedToken(Base):
    """A revoked sign-in token: the hash of its id, stored until the token expires."""

    __tablename__ = "revoked_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)


class PasswordLink(Base):
    """A link that sets a new password, once. Only the hash of its token is stored.

    It is good until ``expires_at``, and while the user's e-mail and token version are those that it was made for.
    """

    __tablename__ = "password_links"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(Identifier, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    email: Mapped[str] = mapped_column(String(254))
    token_version: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
