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
from app.extensions import Base
from app.models import Delivery, TrafficRecord, TrafficSource, User, Webhook
from app.models.columns import NO_ID, known_id
from app.repositories import access, users
from app.repositories.access import Caller, IngestTokenHolder, SignedIn

INGEST_PREFIX = "ingest_"
LARGE_BODY_BYTES = 65_536
BEARER = {"type": "http", "scheme": "bearer", "description": "A token from POST /user/auth."}
INGEST_BEARER = {"type": "http", "scheme": "bearer", "description": "An ingest token of the traffic source."}

# What the database and datetime can hold.
MAX_VERSION = 2**31 - 1
LAST_SECOND = 253_402_300_799

# The claims of the sign-in token that the request carries.
current_claims = cast(dict[str, Any], LocalProxy(lambda: g.current_claims))
# What the path names, by the name of its parameter.
THINGS: dict[str, type[Base]] = {
    "traffic_source_id": TrafficSource,
    "webhook_id": Webhook,
    "delivery_id": Delivery,
    "record_id": TrafficRecord,
}


def current_caller() -> Caller:
    """Whom the token of this request stands for."""
    return cast(Caller, g.current_caller)


def current_source_id() -> str:
    """The id of the traffic source that the ingest token of this request is for."""
    return str(g.source_id)


def current_user_id() -> str:
    """The id of the user who signed in."""
    return str(current_claims["sub"])


@dataclass(frozen=True)
class Guard:
    """A check made before anything else of a request is looked at, and how OpenAPI tells of it.

    ``confirm`` runs where the view fails before its SQL checked the token, so that an invalid token outranks any other
    error.
    """

    check: Callable[[], None]
    security: list[dict[str, list[str]]]
    reasons: dict[int, str] = field(default_factory=dict)
    confirm: Callable[[], None] | None = None

    def __call__(self, view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.check()
            try:
                return view(*args, **kwargs)
            except (HTTPException, ServiceError):
                if self.confirm:
                    self.confirm()
                raise

        return guarded


def check_owner() -> None:
    """Raises the NotFound of what the path names, or NotYours, where a route wants its owner."""
    if access := g.get("access"):
        access.check_owner()


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


def _check_signed_in() -> None:
    """One statement finds out whether the token stands, and whose the thing is that the path names."""
    g.current_caller = caller = _signed_in(_bearer_token())
    ids = request.view_args or {}
    name = next((name for name in THINGS if name in ids), None)
    if name is None:
        access.find(caller, TrafficSource, NO_ID)
    else:
        g.access = access.find(caller, THINGS[name], ids[name])
        g.source_id = g.access.source_id


def _check_reporter() -> None:
    """The statement that stores a report finds out whether the token stands: a second one costs as much again.

    A large body is not even held before that is known.
    """
    token = _bearer_token()
    is_ingest_token = token.startswith(INGEST_PREFIX)
    g.current_caller = IngestTokenHolder(hash_token(token)) if is_ingest_token else _signed_in(token)
    g.source_id = (request.view_args or {}).get("traffic_source_id")
    if request.environ.get("HTTP_TRANSFER_ENCODING") or (request.content_length or 0) > LARGE_BODY_BYTES:
        _confirm()


def _check_ingest_token() -> None:
    """The token tells which source is reported to, so it is looked up first, whatever the size of the body."""
    token = _bearer_token()
    if not token.startswith(INGEST_PREFIX):
        raise InvalidToken("Only an ingest token tells which traffic source this is about. Create one for the source.")
    # OTLP's clients try again after 503, but not after 500.
    g.status_in_trouble = 503
    g.current_caller = holder = IngestTokenHolder(hash_token(token))
    g.source_id = access.source_of(holder)


def _confirm() -> None:
    access.find(current_caller(), TrafficSource, NO_ID)


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
may_report_by_ingest_token = Guard(_check_ingest_token, security=[{"ingestToken": []}], reasons=_REASONS)
may_report = Guard(_check_reporter, security=[{"bearer": []}, {"ingestToken": []}], reasons=_REASONS, confirm=_confirm)
