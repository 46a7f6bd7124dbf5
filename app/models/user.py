import hashlib
from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import TimestampedMixin, UTCDateTime


class User(TimestampedMixin, Base):
    """Somebody with an account. ``email`` is kept in lower case, so that it is unique without case."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    utc: Mapped[float] = mapped_column(default=0.0)
    # Part of every sign-in token; a new password raises it and so ends all older tokens.
    token_version: Mapped[int] = mapped_column(default=0)

    role = "user"

    @property
    def avatar_url(self) -> str:
        """The user's Gravatar, or a drawing made of the e-mail's hash where there is none."""
        digest = hashlib.sha256(self.email.encode()).hexdigest()
        return f"https://www.gravatar.com/avatar/{digest}?d=identicon"


class RevokedToken(Base):
    """A sign-in token that was signed out; only the hash of its id is kept, until it would have expired."""

    __tablename__ = "revoked_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
