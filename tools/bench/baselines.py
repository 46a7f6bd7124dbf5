"""The baselines, served with the service's gunicorn settings: ``gunicorn tools.bench.baselines:b1``.

B0 parses JSON and answers fixed JSON. B1 does one autocommitted INSERT with the raw driver, without any checks.
"""

import os
import sqlite3
import threading
from datetime import UTC, datetime
from typing import Any

import psycopg
import uuid_utils
from flask import Flask, request
from sqlalchemy.engine import make_url

URL = os.environ["DATABASE_URL"]
IS_SQLITE = URL.startswith("sqlite")
TABLE = "CREATE TABLE rows (id {id} PRIMARY KEY, source {id}, level text, value text, created_at {at}, updated_at {at})"
INSERT = "INSERT INTO rows VALUES (%s, %s, %s, %s, %s, %s)"

b0 = Flask("b0")
b1 = Flask("b1")
local = threading.local()


@b0.get("/healthz")
@b1.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@b0.post("/rows")
def answer() -> tuple[dict[str, Any], int]:
    request.get_json()
    return {"id": "1", "level": "fatal", "value": "123456789"}, 201


@b1.post("/rows")
def insert() -> tuple[dict[str, Any], int]:
    body = request.get_json()
    id, now = str(uuid_utils.uuid7()), datetime.now(UTC).isoformat()
    statement = INSERT.replace("%s", "?") if IS_SQLITE else INSERT
    connection().execute(statement, (id, id, body["level"], body["value"], now, now))
    return {"id": id, **body, "createdAt": now, "updatedAt": now}, 201


def connection() -> Any:
    """This thread's autocommit connection."""
    if not hasattr(local, "connection"):
        local.connection = connect()
    return local.connection


def connect() -> Any:
    if not IS_SQLITE:
        return psycopg.connect(URL, autocommit=True)
    connection = sqlite3.connect(make_url(URL).database or "", isolation_level=None, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


def create_table() -> None:
    """Create B1's table; run before the first request."""
    types = {"id": "text", "at": "text"} if IS_SQLITE else {"id": "uuid", "at": "timestamptz"}
    with connect() as connection:
        connection.execute(TABLE.format(**types))


if __name__ == "__main__":
    create_table()
