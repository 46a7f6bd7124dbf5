"""Logs: text for people, JSON for machines."""

import logging.config
from typing import Any

from flask import Flask

TEXT = {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
JSON = {
    "()": "pythonjsonlogger.json.JsonFormatter",
    "format": "%(levelname)s %(name)s %(message)s",
    "rename_fields": {"levelname": "level", "name": "logger"},
    "timestamp": "time",
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
            # Its lines hold raw paths; ours, of app.requests, hold routes.
            "gunicorn.access": {"level": "CRITICAL"},
        },
    }


def init_app(app: Flask) -> None:
    logging.config.dictConfig(logging_config(app.config["LOG_FORMAT"], app.config["LOG_LEVEL"]))
