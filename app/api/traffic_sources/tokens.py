"""Issues ingest tokens, for the API's view and the console's."""

from urllib.parse import SplitResult, urlsplit

from flask import current_app, request
from werkzeug.exceptions import BadRequest

from app.api.auth import hash_token, new_ingest_token
from app.extensions import db
from app.models import IngestToken
from app.repositories import traffic_sources


def issue_and_commit(source_id: str, name: str) -> IngestToken:
    """The new token, with ``token`` and ``dsn``. Raises TrafficSourceNotFound, TooManyTokens."""
    token = new_ingest_token()
    dsn = _dsn(token, source_id)
    issued = IngestToken(name=name, token_hash=hash_token(token), traffic_source_id=source_id)
    issued = traffic_sources.add_ingest_token(issued, current_app.config["MAX_TOKENS_PER_SOURCE"])
    db.session.commit()
    issued.token, issued.dsn = token, dsn  # type: ignore[attr-defined]
    return issued


def service_url() -> SplitResult:
    """PUBLIC_URL or, if that is not set, the URL of this request's host. Raises BadRequest for a malformed host."""
    try:
        url = urlsplit(current_app.config["PUBLIC_URL"] or request.host_url)
        host = url.hostname and url.port != 0
    except ValueError:
        host = None
    if not host:
        raise BadRequest("The Host header must name this service's host.")
    return url._replace(path=url.path.rstrip("/"))


def _dsn(token: str, source_id: str) -> str:
    url = service_url()
    return url._replace(netloc=f"{token}@{url.netloc}", path=f"{url.path}/{source_id}").geturl()
