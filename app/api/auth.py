"""Who calls. Two kinds of token come as ``Authorization: Bearer``: sign-in tokens (JWT) and ingest tokens."""

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, wraps
from typing import Any, cast

from flask import current_app, g, request
from flask_jwt_extended import create_access_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import PyJWTError
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

from app.errors import InvalidToken, MissingToken, ServiceError
from app.models import User
from app.models.columns import known_id
from app.repositories import users
from app.repositories.access import Caller, IngestTokenHolder, SignedIn

INGEST_PREFIX = "ingest_"
LARGE_BODY_BYTES = 65_536
BEARER = {"type": "http", "scheme": "bearer", "description": "A token from POST /user/auth."}
INGEST_BEARER = {"type": "http", "scheme": "bearer", "description": "An ingest token of the traffic source."}

# What the database and datetime can hold.
MAX_VERSION = 2**31 - 1
LAST_SECOND = 253_402_300_799

# The user whose sign-in token the request carries, and that token's claims.
current_user = cast(User, LocalProxy(lambda: g.current_user))
current_claims = cast(dict[str, Any], LocalProxy(lambda: g.current_claims))


def current_caller() -> Caller:
    """Who the token of this request stands for, as repositories want to know it."""
    return cast(Caller, g.current_caller)


@dataclass(frozen=True)
class Guard:
    """A check made before anything else of a request is looked at, and how OpenAPI tells of it.

    ``settle`` is what is left to check where the view fails before its statement could: a refused token is told
    before whatever else is wrong.
    """

    check: Callable[[], None]
    security: list[dict[str, list[str]]]
    reasons: dict[int, str] = field(default_factory=dict)
    settle: Callable[[], None] = lambda: None

    def __call__(self, view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.check()
            try:
                return view(*args, **kwargs)
            except (HTTPException, ServiceError):
                self.settle()
                raise

        return guarded


def issue_token(user: User) -> str:
    token: str = create_access_token(identity=user.id, additional_claims={"ver": user.token_version})
    return token


def new_ingest_token() -> str:
    return INGEST_PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """What is kept of a token: enough to recognise it, not enough to use it."""
    return hashlib.sha256(token.encode()).hexdigest()


def revoke_current_token() -> None:
    expires_at = datetime.fromtimestamp(current_claims["exp"], UTC)
    users.revoke_token(hash_token(current_claims["jti"]), expires_at)


def _verify() -> None:
    g.current_caller = _signed_in(_bearer_token())
    _confirm_if_large()


def _check_signed_in() -> None:
    g.current_caller = _signed_in(_bearer_token())
    g.current_user = g.current_caller.get_user()


def _verify_reporter() -> None:
    token = _bearer_token()
    is_ingest_token = token.startswith(INGEST_PREFIX)
    g.current_caller = IngestTokenHolder(hash_token(token)) if is_ingest_token else _signed_in(token)
    _confirm_if_large()


def _confirm_if_large() -> None:
    """A large body is not even held before its token is known to be good; else the view's statement checks that."""
    if request.environ.get("HTTP_TRANSFER_ENCODING") or (request.content_length or 0) > LARGE_BODY_BYTES:
        current_caller().confirm()


def _confirm() -> None:
    current_caller().confirm()


def _signed_in(token: str) -> SignedIn:
    if token.startswith(INGEST_PREFIX):
        raise InvalidToken("This is an ingest token: it can only report traffic. Sign in to get another.")
    claims, caller = _verified(token, current_app.config["JWT_SECRET_KEY"])
    if time.time() >= claims["exp"]:
        raise InvalidToken
    g.current_claims = claims
    return caller


def _bearer_token() -> str:
    scheme, _, token = str(request.environ.get("HTTP_AUTHORIZATION", "")).strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise MissingToken
    return token.strip()


@lru_cache(maxsize=2_000)
def _verified(token: str, _key: str) -> tuple[dict[str, Any], SignedIn]:
    """The claims of a sign-in token of ours, and whom it stands for.

    Found out once: it costs more than all other checks of a request. What can change, expiry and revocation, is left
    to the caller. Raises InvalidToken; a token can be malformed in ways PyJWT does not expect.
    """
    try:
        claims: dict[str, Any] = decode_token(token)
    except (PyJWTError, JWTExtendedException, ValueError, OverflowError, RecursionError):
        raise InvalidToken from None
    match claims:
        case {"type": "access", "sub": str(user_id), "jti": str(jti), "ver": int(version), "exp": int(expires_at)}:
            if expires_at <= LAST_SECOND and 0 <= version <= MAX_VERSION:
                return claims, SignedIn(known_id(user_id), version, hash_token(jti))
    raise InvalidToken


_REASONS = {
    400: "Missing authentication token.",
    401: "The requester is not authenticated, or the provided token is invalid.",
}
public = Guard(lambda: None, security=[])
signed_in = Guard(_check_signed_in, security=[{"bearer": []}], reasons=_REASONS)
# These leave to the view's statement whether the token still stands: see repositories/callers.py.
signed_in_by_statement = Guard(_verify, security=[{"bearer": []}], reasons=_REASONS, settle=_confirm)
may_report = Guard(_verify_reporter, security=[{"bearer": []}, {"ingestToken": []}], reasons=_REASONS, settle=_confirm)
