"""What the integration tests share: checks of answers, a look into the database, and things done at once."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from threading import Barrier
from typing import Any

from flask import Flask
from sqlalchemy import func, select
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from app.extensions import Base, db
from app.models import Delivery

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def is_id(value: str) -> bool:
    return bool(UUID7.fullmatch(value))


def is_time(value: str) -> bool:
    return bool(TIME.fullmatch(value))


def refused(answer: TestResponse, code: int) -> Any:
    """The body of an error, after a look at all that every error must be."""
    assert answer.status_code == code, answer.text
    assert answer.content_type == "application/json"
    assert answer.headers["X-Request-Id"]
    assert answer.headers.get("WWW-Authenticate") == ("Bearer" if code == 401 else None)
    body = answer.json
    assert set(body) - {"errors"} == {"code", "status", "message"}
    assert body["code"] == code
    assert body["status"] == HTTPStatus(code).phrase
    assert body["message"]
    assert body.get("errors", True), "errors is left out where there is nothing per field"
    return body


def wrong_fields(answer: TestResponse, location: str = "json") -> set[str]:
    """The fields a 400 names."""
    return set(refused(answer, 400)["errors"][location])


def at_once(*calls: Callable[[], TestResponse]) -> list[TestResponse]:
    """The answers of ``calls``, all made at the same moment."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], TestResponse]) -> TestResponse:
        barrier.wait(timeout=30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def api_rules(app: Flask) -> list[Rule]:
    """The routes that answer in JSON: all but the console's."""
    pages = ("root", "console.")
    return [rule for rule in app.url_map.iter_rules() if not rule.endpoint.startswith(pages)]


def codes(answers: list[TestResponse]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


def count(app: Flask, model: type[Base]) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(model)) or 0


def events_owed(app: Flask) -> Sequence[int]:
    """How many events each delivery tells of."""
    with app.app_context():
        return db.session.scalars(select(Delivery.event_count)).all()


def all_rows(app: Flask) -> str:
    """Everything in the database, as text."""
    with app.app_context():
        tables = db.metadata.sorted_tables
        return "\n".join(f"{table.name} {row}" for table in tables for row in db.session.execute(select(table)))


def write(app: Flask, *statements: Any) -> None:
    """Change the database behind the API's back."""
    with app.app_context():
        for statement in statements:
            db.session.execute(statement)
        db.session.commit()


def plan_of(sql: str, parameters: Any) -> str:
    """PostgreSQL's plan, in this transaction, of a statement that was seen."""
    rows = db.session.connection().exec_driver_sql(f"EXPLAIN {sql}", parameters)
    return "\n".join(row[-1] for row in rows)
