"""Authenticates requests by bearer token: a sign-in token (JWT) or an ingest token."""

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
from app.models import Alert, Delivery, TrafficRecord, TrafficSource, User, Webhook
from app.models.columns import NO_ID, known_id
from app.repositories import access, users
from app.repositories.access import Access, Caller, IngestTokenHolder, Role, SignedIn

INGEST_PREFIX = "ingest_"
LARGE_BODY_BYTES = 65_536
BEARER = {"type": "http", "scheme": "bearer", "description": "A token from POST /user/auth."}
INGEST_BEARER = {"type": "http", "scheme": "bearer", "description": "An ingest token of the traffic source."}

# The largest values that the database's integer and datetime can hold.
MAX_TOKEN_VERSION = 2**31 - 1
MAX_UNIX_SECONDS = 253_402_300_799

# The claims of this request's sign-in token.
current_claims = cast(dict[str, Any], LocalProxy(lambda: g.current_claims))
# Models by path parameter, to look up the owner.
THINGS: dict[str, type[Base]] = {
    "traffic_source_id": TrafficSource,
    "webhook_id": Webhook,
    "delivery_id": Delivery,
    "alert_id": Alert,
    "record_id": TrafficRecord,
}


def current_caller() -> Caller:
    """The holder of this request's token."""
    return cast(Caller, g.current_caller)


def current_source_id() -> str:
    """The id of the traffic source that the ingest token of this request is for."""
    return str(g.source_id)


def current_user_id() -> str:
    return str(current_claims["sub"])


@dataclass(frozen=True)
class Guard:
    """Authenticates before a view reads the request, and documents that in OpenAPI.

    ``confirm`` runs when the view fails before its SQL checked the token, so that an invalid token outranks any other
    error.
    """

    check: Callable[[], None]
    security: list[dict[str, list[str]]]
    reasons: dict[int, str] = field(default_factory=dict)
    confirm: Callable[[], None] | None = None

    def __call__(self, view: Callable[..., Any], needs: Role) -> Callable[..., Any]:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            g.needs = needs
            self.check()
            try:
                return view(*args, **kwargs)
            except (HTTPException, ServiceError):
                if self.confirm:
                    self.confirm()
                raise

        return guarded


def current_role() -> Role:
    """What the caller is to the source of the path's resource."""
    return cast(Access, g.access).role


def check_role(needed: Role) -> None:
    """Raises NotYours, or the NotFound of the path's resource, for a lesser role.

    Routes without resource pass, as do those whose SQL statement checks the role.
    """
    if access := g.get("access"):
        access.check(needed)


def issue_token(user: User) -> str:
    token: str = create_access_token(identity=user.id, additional_claims={"ver": user.token_version})
    return token


def new_ingest_token() -> str:
    return INGEST_PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """The SHA-256 that is stored in place of a token, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def revoke_current_token() -> None:
    expires_at = datetime.fromtimestamp(current_claims["exp"], UTC)
    users.revoke_token(hash_token(current_claims["jti"]), expires_at)


def authenticate(token: str) -> None:
    """Check a sign-in token and look up the owner of the path's resource, in one statement. Raises InvalidToken."""
    g.current_caller = caller = _signed_in(token)
    ids = request.view_args or {}
    name = next((name for name in THINGS if name in ids), None)
    if name is None:
        access.find(caller, TrafficSource, NO_ID)
    else:
        g.access = access.find(caller, THINGS[name], ids[name])
        g.source_id = g.access.source_id


def _check_signed_in() -> None:
    authenticate(_bearer_token())


def _leave_to_statement() -> None:
    """Leave the check of token and role to the view's SQL statement: a statement of its own would double the cost."""
    _leave_check(_signed_in(_bearer_token()))


def _leave_to_reports_statement() -> None:
    """As ``_leave_to_statement``, for both kinds of token."""
    token = _bearer_token()
    is_ingest_token = token.startswith(INGEST_PREFIX)
    _leave_check(IngestTokenHolder(hash_token(token)) if is_ingest_token else _signed_in(token))


def _leave_check(caller: Caller) -> None:
    """Before a large body, the token is checked at once, so that an invalid one cannot fill the memory."""
    g.current_caller = caller
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
    """The claims of a sign-in token whose signature is good, and its holder. Raises InvalidToken.

    Cached, since it costs more than all other checks of a request; the caller checks expiry and revocation.
    """
    try:
        # Malformed tokens raise more than PyJWT's errors.
        claims: dict[str, Any] = decode_token(token)
    except (PyJWTError, JWTExtendedException, ValueError, OverflowError, RecursionError):
        raise InvalidToken from None
    match claims:
        case {"type": "access", "sub": str(user_id), "jti": str(jti), "ver": int(version), "exp": int(expires_at)}:
            if expires_at <= MAX_UNIX_SECONDS and 0 <= version <= MAX_TOKEN_VERSION:
                return claims, SignedIn(hash_token(jti), known_id(user_id), version)
    raise InvalidToken


_REASONS = {
    400: "Missing authentication token.",
    401: "The requester is not authenticated, or the provided token is invalid.",
}
public = Guard(lambda: None, security=[])
signed_in = Guard(_check_signed_in, security=[{"bearer": []}], reasons=_REASONS)
may_report_by_ingest_token = Guard(_check_ingest_token, security=[{"ingestToken": []}], reasons=_REASONS)
# The SQL statements of these routes check the role.
checked_by_statement = Guard(_leave_to_statement, security=signed_in.security, reasons=_REASONS, confirm=_confirm)
may_report = Guard(
    _leave_to_reports_statement, security=[{"bearer": []}, {"ingestToken": []}], reasons=_REASONS, confirm=_confirm
)
