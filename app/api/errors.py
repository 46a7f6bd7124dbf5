"""Answers every error in one JSON envelope. The only module that maps domain errors to HTTP statuses."""

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app import errors
from app.monitoring.readiness import note_refusal
from app.repositories.failures import explain, reason

log = logging.getLogger(__name__)

STATUSES: dict[type[errors.ServiceError], int] = {
    errors.MissingToken: 400,
    errors.UnusableLink: 400,
    errors.SharedWithOneself: 400,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
}


@dataclass(frozen=True)
class Problem:
    """The answer to an error: the HTTP status, one sentence, messages by field, and headers."""

    code: int
    message: str
    details: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def init_app(app: Flask) -> None:
    for handled in (HTTPException, Exception):
        app.register_error_handler(handled, lambda error: envelope(describe(error)))


def envelope(problem: Problem) -> Response:
    body = {"code": problem.code, "status": HTTPStatus(problem.code).phrase, "message": problem.message}
    if problem.details:
        body["errors"] = problem.details
    response = jsonify(body)
    response.status_code = problem.code
    response.headers.update(problem.headers)
    if problem.code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def describe(error: Exception) -> Problem:
    """The answer to ``error``. Logs an unexpected one."""
    match error:
        case errors.ServiceError():
            return _domain_error(error)
        case HTTPException():
            return _http_error(error)
    return _unexpected_error(error)


def _domain_error(error: errors.ServiceError) -> Problem:
    code = next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, errors.TooManyRequests) else {}
    return Problem(code, error.message, error.errors, headers)


def _http_error(error: HTTPException) -> Problem:
    """An error of Flask, Werkzeug or webargs, whose ``data`` names the invalid fields."""
    code = error.code or 500
    details = getattr(error, "data", {}).get("messages")
    if code < 400:
        code, details = 404, None
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return Problem(code, _http_message(code, error, details, headers), details, headers)


def _http_message(code: int, error: HTTPException, details: Any, headers: Mapping[str, str]) -> str:
    match code:
        case 400 if details:
            return _first_problem(details)
        case 404:
            return "There is nothing at this path. See /docs for what there is."
        case 405:
            return f"{request.method} is not possible here. Use one of: {headers.get('Allow')}."
        case 413 if error.description == RequestEntityTooLarge.description:
            limit = request.max_content_length or current_app.config["MAX_CONTENT_LENGTH"]
            return f"The request body is too large: at most {limit:,} bytes are accepted here."
    return error.description or HTTPStatus(code).description


def _first_problem(details: Any) -> str:
    """The first message of webargs' nested errors, prefixed with the path of its field."""
    path: list[str] = []
    while isinstance(details, dict):
        name, details = next(iter(details.items()))
        path.append(str(name))
    message = details[0] if isinstance(details, list) and details else "Invalid value."
    where = ".".join(name for name in path[1:] if name != "_schema")
    return f"{where}: {message}" if where else f"Invalid request: {message}"


def _unexpected_error(error: Exception) -> Problem:
    """Log the traceback without the error's text, which may quote the request.

    A failure of the database as a whole is logged in one line, since many requests may meet it.
    """
    if in_trouble := reason(error):
        note_refusal(in_trouble)
        request_id = g.get("request_id")
        log.error(
            "%s (%s %s, %s)", in_trouble, request.method, request.url_rule, request_id, extra={"request_id": request_id}
        )
        return Problem(g.get("status_in_trouble", 500), f"{in_trouble} Look up this X-Request-Id in the server's log.")
    frames = "".join(traceback.format_tb(error.__traceback__))
    request_id = g.get("request_id")
    log.error(
        "Unexpected %s in %s %s (%s)\n%s",
        explain(error).removesuffix("."),
        request.method,
        request.url_rule,
        request_id,
        frames,
        extra={"request_id": request_id},
    )
    return Problem(500, "An unexpected server error occurred. Look up this X-Request-Id in the server's log.")
