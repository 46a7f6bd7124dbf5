"""Log lines: one for each request, readable by machines where wanted, with nothing in them that is private."""

import json
import logging
import logging.config
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from gunicorn.http.errors import InvalidHeader, InvalidRequestLine

from app.api import request_log
from app.discord.address import parse_address
from app.discord.client import DiscordClient
from app.monitoring import logs
from tests.conftest import BOT_TOKEN
from tools.fake_discord import Discord
from tools.story import WEBHOOK_TOKEN, WEBHOOK_URL

UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
MakeApp = Callable[..., Flask]
Capture = pytest.CaptureFixture[str]
LOGGERS = ["", "urllib3", "alembic", "gunicorn.error", "gunicorn.access"]


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    yield
    for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture
def make_app() -> MakeApp:
    def make(log_format: str = "text", level: str = "INFO") -> Flask:
        app = Flask(__name__)
        app.config.update(LOG_FORMAT=log_format, LOG_LEVEL=level)
        logs.init_app(app)
        request_log.init_app(app)

        @app.route("/things/<id>", methods=["GET", "POST"])
        def thing(id: str) -> str:
            return id

        @app.route("/broken")
        def broken() -> str:
            raise RuntimeError("canary")

        return app

    return make


@pytest.mark.parametrize(
    ("method", "path", "line"),
    [
        ("GET", "/things/7", "GET /things/<id> 200"),
        ("POST", "/things/7", "POST /things/<id> 200"),
        ("DELETE", "/things/7", "DELETE (unknown path) 405"),
        ("GET", "/nowhere", "GET (unknown path) 404"),
        ("GET", "/broken", "GET /broken 500"),
    ],
)
def test_a_request_is_one_line(capsys: Capture, make_app: MakeApp, method: str, path: str, line: str) -> None:
    answer = make_app().test_client().open(path, method=method)
    lines = [each for each in capsys.readouterr().err.splitlines() if " app.requests " in each]
    assert len(lines) == 1
    request_id = answer.headers["X-Request-Id"]
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\d [\d:,]+ INFO app\.requests {re.escape(line)} \d+\.\d ms {request_id}", lines[0]
    )


def test_a_line_for_machines_is_json(capsys: Capture, make_app: MakeApp) -> None:
    answer = make_app("json").test_client().get("/things/7", headers={"X-Request-Id": "abc-1"})
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert datetime.fromisoformat(entry.pop("time")).utcoffset() == timedelta()
    assert entry.pop("message").startswith("GET /things/<id> 200 ")
    assert entry.pop("duration_ms") >= 0
    assert entry == {
        "level": "INFO",
        "logger": "app.requests",
        "request_id": "abc-1",
        "method": "GET",
        "route": "/things/<id>",
        "status": 200,
    }
    assert answer.headers["X-Request-Id"] == "abc-1"


def test_an_error_for_machines_is_one_line_of_json(capsys: Capture, make_app: MakeApp) -> None:
    make_app("json").test_client().get("/broken")
    entries = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [entry["level"] for entry in entries] == ["ERROR", "INFO"]
    assert "RuntimeError" in entries[0]["exc_info"]


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("path", ["/things/canary-id", "/canary/path"])
def test_no_line_holds_what_a_request_brings(capsys: Capture, make_app: MakeApp, path: str, log_format: str) -> None:
    headers = {"Authorization": "Bearer canary-token", "Cookie": "a=canary-cookie", "User-Agent": "canary-agent"}
    client = make_app(log_format, "DEBUG").test_client()
    client.post(f"{path}?q=canary-query", headers=headers, json={"a": "canary-body"})
    lines = capsys.readouterr().err
    assert "POST" in lines
    assert "canary" not in lines


@pytest.mark.parametrize("request_id", ["a", "0198-abc.def_1", "x" * 64])
def test_a_given_request_id_is_kept(make_app: MakeApp, request_id: str) -> None:
    answer = make_app().test_client().get("/things/7", headers={"X-Request-Id": request_id})
    assert answer.headers["X-Request-Id"] == request_id


@pytest.mark.parametrize("request_id", [None, "", "x" * 65, "a b", "<script>", 'a"b', "a\tb", "é", "a;b", "a/b"])
def test_an_unfit_request_id_is_replaced(make_app: MakeApp, request_id: str | None) -> None:
    headers = {} if request_id is None else {"X-Request-Id": request_id}
    answer = make_app().test_client().get("/things/7", headers=headers)
    assert re.fullmatch(UUID7, answer.headers["X-Request-Id"])


def test_each_request_has_an_id_of_its_own(make_app: MakeApp) -> None:
    client = make_app().test_client()
    assert len({client.get(path).headers["X-Request-Id"] for path in ("/things/7", "/things/7", "/nowhere")}) == 3


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_talking_to_discord_logs_no_secret(capsys: Capture, discord: Discord, log_format: str) -> None:
    logging.config.dictConfig(logs.logging_config(log_format, "DEBUG"))
    logging.getLogger("app").debug("said")
    client = DiscordClient(discord.url, BOT_TOKEN, "https://traffic.example.com", "1.2.3")
    for value in ("123456789", WEBHOOK_URL):
        client.send(parse_address(value), {"content": "hello"}, "nonce")
    client.pool.clear()
    lines = capsys.readouterr().err
    assert "said" in lines
    assert WEBHOOK_TOKEN not in lines
    assert BOT_TOKEN not in lines


@pytest.mark.parametrize(
    ("logger", "level", "shown"),
    [
        ("app.delivery", logging.INFO, True),
        ("app.delivery", logging.DEBUG, False),
        ("urllib3.connectionpool", logging.WARNING, False),
        ("urllib3.connectionpool", logging.ERROR, True),
        ("alembic.runtime", logging.INFO, False),
        ("alembic.runtime", logging.WARNING, True),
        ("gunicorn.error", logging.INFO, True),
        ("gunicorn.access", logging.ERROR, False),
    ],
)
def test_each_logger_says_as_much_as_it_should(capsys: Capture, logger: str, level: int, shown: bool) -> None:
    logging.config.dictConfig(logs.logging_config("text", "INFO"))
    logging.getLogger(logger).log(level, "a line of %s", "its own")
    assert ("a line of its own" in capsys.readouterr().err) is shown


@pytest.mark.parametrize(
    ("line", "arguments", "shown"),
    [
        (
            f"Invalid request from ip=10.0.0.1: {InvalidRequestLine('GET /canary?canary HTTP/9')}",
            (),
            "Invalid request from ip=10.0.0.1: Invalid HTTP request line",
        ),
        (
            f"Invalid request from ip=::1: {InvalidHeader('canary: %s')}",
            (),
            "Invalid request from ip=::1: Invalid HTTP Header",
        ),
        ("Error handling request %s %s", ("GET", "/canary?canary"), "Error handling request"),
        ("Worker %s started", (7,), "Worker 7 started"),
    ],
)
def test_gunicorn_repeats_nothing_of_a_request(
    capsys: Capture, line: str, arguments: tuple[object, ...], shown: str
) -> None:
    logging.config.dictConfig(logs.logging_config("text", "INFO"))
    logging.getLogger("gunicorn.error").warning(line, *arguments)
    assert capsys.readouterr().err.endswith(f" WARNING gunicorn.error {shown}\n")


def test_gunicorn_tells_where_it_failed_at_a_request_and_nothing_of_it(capsys: Capture) -> None:
    logging.config.dictConfig(logs.logging_config("text", "INFO"))
    try:
        int("canary")
    except ValueError:
        logging.getLogger("gunicorn.error").exception("Error handling request %s", "/canary")
    told = capsys.readouterr().err
    assert "Unexpected ValueError at a request\n" in told
    assert "line" in told
    assert "invalid literal" not in told
    assert "/canary" not in told


def test_a_level_is_the_least_that_is_shown(capsys: Capture, make_app: MakeApp) -> None:
    make_app(level="WARNING").test_client().get("/things/7")
    assert capsys.readouterr().err == ""


def test_loggers_that_were_there_before_go_on(capsys: Capture) -> None:
    earlier: Any = logging.getLogger("tests.earlier")
    logging.config.dictConfig(logs.logging_config("text", "INFO"))
    earlier.info("still heard")
    assert "still heard" in capsys.readouterr().err
