"""Who calls, and what they may: conditions that a statement checks while it does its work.

Asking first costs as much as the work itself. So what is called most is one statement, on condition that its caller
may do it; only where it did nothing, ``explain_refusal`` asks why.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from sqlalchemy import Select, String, bindparam, select

from app.errors import InvalidToken, NotFound, NotYours, TrafficSourceNotFound
from app.extensions import db
from app.models import IngestToken, RevokedToken, TrafficSource, User
from app.models.columns import Identifier


class Caller(Protocol):
    """Whoever a token stands for. ``parameters`` are those of ``own_source``."""

    # The id of the source :source_id, where the token stands and the caller may report to it. Found by its primary key,
    # never among all that the caller has.
    own_source: ClassVar[Select[Any]]

    @property
    def parameters(self) -> dict[str, Any]: ...

    def confirm(self) -> None:
        """Raises InvalidToken where the token does not stand any more."""

    def may_report_to(self, source: TrafficSource) -> bool: ...


_SOURCE_ID = bindparam("source_id", type_=Identifier)
_CALLER_ID = bindparam("caller_id", type_=Identifier)
_TOKEN_HASH = bindparam("token_hash", type_=String)


@dataclass(frozen=True)
class SignedIn:
    """A user, by a sign-in token whose signature is good and whose end has not come."""

    user_id: str
    token_version: int
    token_hash: str

    _user: ClassVar = select(User).where(
        User.id == _CALLER_ID,
        User.token_version == bindparam("token_version"),
        ~select(RevokedToken.token_hash).where(RevokedToken.token_hash == _TOKEN_HASH).exists(),
    )
    own_source: ClassVar = select(_SOURCE_ID.label("id")).where(
        select(TrafficSource.user_id).where(TrafficSource.id == _SOURCE_ID).scalar_subquery() == _CALLER_ID,
        _user.with_only_columns(User.id).exists(),
    )

    @property
    def parameters(self) -> dict[str, Any]:
        return {"caller_id": self.user_id, "token_version": self.token_version, "token_hash": self.token_hash}

    def get_user(self) -> User:
        """Raises InvalidToken where the user is gone, the token was revoked, or the password was changed since."""
        user: User | None = db.session.scalar(self._user, self.parameters)
        if user is None:
            raise InvalidToken
        return user

    def confirm(self) -> None:
        self.get_user()

    def may_report_to(self, source: TrafficSource) -> bool:
        return source.user_id == self.user_id


@dataclass(frozen=True)
class IngestTokenHolder:
    """Whoever holds an ingest token: may report to the one source it was issued for."""

    token_hash: str

    own_source: ClassVar = select(_SOURCE_ID.label("id")).where(
        select(IngestToken.traffic_source_id).where(IngestToken.token_hash == _TOKEN_HASH).scalar_subquery()
        == _SOURCE_ID
    )

    @property
    def parameters(self) -> dict[str, Any]:
        return {"token_hash": self.token_hash}

    def confirm(self) -> None:
        self._source_id()

    def may_report_to(self, source: TrafficSource) -> bool:
        return source.id == self._source_id()

    def _source_id(self) -> str:
        query = select(IngestToken.traffic_source_id).where(IngestToken.token_hash == self.token_hash)
        source_id = db.session.scalar(query)
        if source_id is None:
            raise InvalidToken("The provided ingest token is invalid or was revoked.")
        return source_id


def check_owner(owner_id: str | None, user_id: str, missing: type[NotFound]) -> None:
    """Raises ``missing`` where nobody owns the thing (it is not there, or was deleted), NotYours where another does."""
    if owner_id is None:
        raise missing
    if owner_id != user_id:
        raise NotYours


def explain_refusal(source_id: str, caller: Caller) -> None:
    """Why a statement found no ``own_source``: raises InvalidToken, TrafficSourceNotFound or NotYours.

    Returns where there is no such reason.
    """
    caller.confirm()
    source = db.session.get(TrafficSource, source_id)
    if source is None or source.user_id is None:
        raise TrafficSourceNotFound
    if not caller.may_report_to(source):
        raise NotYours
