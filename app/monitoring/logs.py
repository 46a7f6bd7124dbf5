"""Configures logging, as text or JSON, and keeps secrets out of other loggers' lines."""

import logging.config
import re
import traceback
from typing import Any

from flask import Flask

TEXT = {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
JSON = {
    "()": "pythonjsonlogger.json.JsonFormatter",
    "format": "%(levelname)s %(name)s %(message)s",
    "rename_fields": {"levelname": "level", "name": "logger"},
    "timestamp": "time",
}

# Messages in which gunicorn quotes a request that it refuses or fails at.
REQUEST_REPEATED = re.compile(r"(Invalid request from ip=\S+ [\w /-]*|Error handling request).*", re.DOTALL)


class WithoutRequest(logging.Filter):
    """Removes the quoted request from gunicorn's messages; the problem and the client's address remain."""

    def filter(self, record: logging.LogRecord) -> bool:
        if found := REQUEST_REPEATED.fullmatch(record.getMessage()):
            record.msg, record.args = found[1].rstrip(), ()
            if record.exc_info:
                # The traceback without the error's text, which may quote the request.
                error, _, where = record.exc_info
                name = getattr(error, "__name__", "error")
                record.msg = f"Unexpected {name} at a request\n{''.join(traceback.format_tb(where))}"
                record.exc_info = None
        return True


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """The configuration for ``logging.config.dictConfig`` and gunicorn's ``logconfig_dict``."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"without_request": {"()": WithoutRequest}},
        "formatters": {"default": JSON if log_format == "json" else TEXT},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "default"},
        },
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            # Below these levels, libraries log URLs and rows, which hold tokens and reported traffic.
            "urllib3": {"level": "ERROR"},
            "sqlalchemy": {"level": "WARNING"},
            "psycopg": {"level": "WARNING"},
            "alembic": {"level": "WARNING"},
            "gunicorn.error": {"propagate": True, "filters": ["without_request"]},
            # gunicorn's access log holds raw paths; app.requests logs routes instead.
            "gunicorn.access": {"level": "CRITICAL"},
        },
    }


def init_app(app: Flask) -> None:
    # The formats show none of these, so skip them: https://docs.python.org/3/howto/logging.html#optimization
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001
    logging.config.dictConfig(logging_config(app.config["LOG_FORMAT"], app.config["LOG_LEVEL"]))
