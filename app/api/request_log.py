"""Gives each request an id, writes one log line for it, and counts it.

The line holds the route and the ids of user and traffic source; never headers, bodies, queries or raw paths.
"""

import logging
import re
import time

import uuid_utils
from flask import Flask, Response, g, request

from app.monitoring import counters

log = logging.getLogger("app.requests")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNKNOWN_PATH = "(unknown path)"


def init_app(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    given = request.environ.get("HTTP_X_REQUEST_ID")
    g.request_id = given if given and REQUEST_ID.fullmatch(given) else str(uuid_utils.uuid7())
    g.began_at = time.perf_counter()


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    method = request.method if request.method in METHODS else "OTHER"
    route = request.url_rule.rule if request.url_rule else UNKNOWN_PATH
    seconds = time.perf_counter() - g.began_at
    counters.count_request(method, route, response.status_code, seconds)
    if log.isEnabledFor(logging.INFO):
        _log(g.request_id, method, route, response.status_code, round(seconds * 1000, 1), _known_ids())
    return response


def _log(request_id: str, method: str, route: str, status: int, duration: float, ids: dict[str, str]) -> None:
    fields = {"request_id": request_id, "method": method, "route": route, "status": status, "duration_ms": duration}
    known = "".join(f" {name}={id}" for name, id in ids.items())
    log.info("%s %s %d %.1f ms %s%s", method, route, status, duration, request_id, known, extra=fields | ids)


def _known_ids() -> dict[str, str]:
    """The ids of the signed-in user and of the traffic source, as far as they are known."""
    ids: dict[str, str] = {}
    if claims := g.get("current_claims"):
        ids["user_id"] = claims["sub"]
    if source_id := g.get("source_id"):
        ids["source_id"] = source_id
    return ids
