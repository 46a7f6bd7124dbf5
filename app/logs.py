"""Logs: text for people, JSON for machines; one line a request. Never headers, bodies, queries or raw paths."""

import logging
import logging.config
import re
import time
from typing import Any

import uuid_utils
from flask import Flask, Response, g, request

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = logging.getLogger("app.requests")

TEXT = {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
JSON = {
    "()": "pythonjsonlogger.json.JsonFormatter",
    "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
}


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """For ``logging.config.dictConfig``, and for gunicorn's ``logconfig_dict``."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"default": JSON if log_format == "json" else TEXT},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "default"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            # Below these levels they log URLs and rows, which hold tokens and reported traffic.
            "urllib3": {"level": "ERROR"},
            "sqlalchemy": {"level": "WARNING"},
            "psycopg": {"level": "WARNING"},
            "alembic": {"level": "WARNING"},
            "gunicorn.error": {"propagate": True},
            # Its lines hold raw paths; ours, in app.requests, hold routes.
            "gunicorn.access": {"level": "CRITICAL"},
        },
    }


def init_app(app: Flask) -> None:
    logging.config.dictConfig(logging_config(app.config["LOG_FORMAT"], app.config["LOG_LEVEL"]))
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else str(uuid_utils.uuid7())
    g.began_at = time.perf_counter()


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    duration = (time.perf_counter() - g.began_at) * 1000
    route = request.url_rule.rule if request.url_rule else "(unknown path)"
    log.info("%s %s %d %.1f ms %s", request.method, route, response.status_code, duration, g.request_id)
    return response
