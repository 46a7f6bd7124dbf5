"""Every request gets an id and a line in the log, and is counted.

A line holds ids of what was asked for and by whom. Never headers, bodies, queries or raw paths.
"""

import logging
import re
import time
from functools import cache

import uuid_utils
from flask import Flask, Response, g, request

from app import counters

log = logging.getLogger("app.requests")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNKNOWN_PATH = "(unknown path)"
# Where the path's ``id`` is a traffic source's.
OF_A_SOURCE = re.compile(
    r"[A-Z]+ /(traffic-sources|http-traffic-records|http-traffics|domains|pathnames)/<id:id>"
    r"|(GET|POST) /webhooks/<id:id>\Z"
)


def init_app(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else str(uuid_utils.uuid7())
    g.began_at = time.perf_counter()


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    method = request.method if request.method in METHODS else "OTHER"
    route = request.url_rule.rule if request.url_rule else UNKNOWN_PATH
    seconds = time.perf_counter() - g.began_at
    counters.count_request(method, route, response.status_code, seconds)
    _log(method, route, response.status_code, round(seconds * 1000, 1))
    return response


def _log(method: str, route: str, status: int, duration: float) -> None:
    ids = _known_ids(method, route)
    fields = {"request_id": g.request_id, "method": method, "route": route, "status": status, "duration_ms": duration}
    told = "".join(f" {name}={id}" for name, id in ids.items())
    log.info("%s %s %d %.1f ms %s%s", method, route, status, duration, g.request_id, told, extra=fields | ids)


def _known_ids(method: str, route: str) -> dict[str, str]:
    """The signed-in user's and the traffic source's, where there are such."""
    ids: dict[str, str] = {}
    if "current_claims" in g:
        ids["user_id"] = g.current_claims["sub"]
    if "source_id" in g:
        ids["source_id"] = g.source_id
    elif request.view_args and _is_of_a_source(method, route):
        ids["source_id"] = request.view_args["id"]
    return ids


@cache
def _is_of_a_source(method: str, route: str) -> bool:
    return bool(OF_A_SOURCE.match(f"{method} {route}"))
