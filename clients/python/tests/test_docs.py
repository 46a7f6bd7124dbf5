"""Every snippet of the documentation, as it stands there."""

import asyncio
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import free_port

from arkyn_reporter.redaction import Redactor
from arkyn_reporter.report import encode
from arkyn_reporter.tail.formats import parse_line

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "connect-python.md"
UNIT = ROOT / "deploy" / "arkyn-reporter.service"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="only in the repository")


def snippet(after: str, language: str = "python") -> str:
    text = PAGE.read_text()
    return re.search(rf"```{language}\n(.*?)```", text[text.index(after) :], re.DOTALL)[1]


def run(code: str, **names):
    exec(code, names)
    return names


@pytest.fixture(autouse=True)
def dsn(collector, monkeypatch):
    monkeypatch.setenv("ARKYN_DSN", collector.dsn)


def wsgi(app) -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/orders/5", "SERVER_NAME": "a", "SERVER_PORT": "80"}
    environ.update({"wsgi.url_scheme": "http", "wsgi.input": sys.stdin.buffer, "wsgi.errors": sys.stderr})
    body = app(environ, lambda *_: None)
    list(body)
    body.close()


def asgi(app) -> None:
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"}
    scope.update(path="/orders/5", raw_path=b"/orders/5", query_string=b"", headers=[(b"host", b"a")], root_path="")

    messages = [{"type": "http.request", "body": b"", "more_body": False}]
    sent = []

    async def receive():
        if messages:
            return messages.pop()
        while not sent or sent[-1].get("more_body", True):
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append({"more_body": False, **message} if message["type"] == "http.response.body" else message)

    asyncio.run(app({**scope, "extensions": {}}, receive, send))


def test_flask(collector):
    from flask import Flask

    app = Flask("documented")
    app.get("/orders/<id>")(lambda id: "ok")
    run(snippet("**Flask**"), app=app)
    wsgi(app)
    assert collector.wait_for(1)[0]["pathnameUrl"] == "/orders/{id}"


def test_django(collector):
    from applications import django_app  # noqa: F401
    from django.core.wsgi import get_wsgi_application

    wsgi(run(snippet("**Django**"), get_wsgi_application=get_wsgi_application)["application"])
    assert collector.wait_for(1)[0]["pathnameUrl"] == "/orders/{id}"


def test_fastapi(collector):
    from fastapi import FastAPI

    app = FastAPI()
    app.get("/orders/{id}")(lambda id: "ok")
    asgi(run(snippet("**FastAPI, Starlette"), app=app)["app"])
    assert collector.wait_for(1)[0]["status"] == 200


def test_quart(collector):
    from quart import Quart

    app = Quart("documented")

    @app.get("/orders/<id>")
    async def order(id):
        return "ok"

    run(snippet("**Quart**"), app=app)
    asgi(app)
    assert collector.wait_for(1)[0]["pathnameUrl"] == "/orders/{id}"


def test_anything_else(collector):
    run(snippet("**Anything else**"))
    (record,) = collector.wait_for(1)
    assert (record["status"], record["queryParams"]) == (502, {"page": "2"})


@pytest.fixture
def nginx(tmp_path):
    if not shutil.which("nginx"):
        pytest.skip("there is no nginx")
    port = free_port()
    log = tmp_path / "access.json.log"
    formats = snippet("nginx needs this format", "nginx").replace("/var/log/nginx/access.json.log", str(log))
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; worker_processes 1; events {{}}\n"
        f"http {{ {formats} client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p; "
        f"fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n"
        f"server {{ listen 127.0.0.1:{port}; location /ok {{ return 200; }} location /fail {{ return 502; }} }} }}\n"
    )
    process = subprocess.Popen(["nginx", "-c", str(config), "-e", str(tmp_path / "error.log")])
    wait_until(lambda: can_connect(port))
    yield port, log, process
    process.send_signal(signal.SIGQUIT)
    process.wait(timeout=10)


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ask(port: int, request: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(request)
        while connection.recv(65536):
            pass


def test_whatever_nginx_logs_in_the_documented_format_is_read(nginx):
    port, log, _ = nginx
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/fail?token=secret&a=%22b%22", headers={"User-Agent": 'a "quoted" \\ \x7f\u00e9'})
    connection.getresponse().read()
    connection.close()
    ask(port, b"GET /ok HTTP/1.0\r\n\r\n")
    ask(port, b"nonsense\r\n\r\n")
    ask(port, b"\x16\x03\x01\x00\xff\xfe\r\n\r\n")
    ask(port, b'GET /\xff\xfe"\\ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n')
    ask(port, b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n")
    wait_until(lambda: log.read_bytes().count(b"\n") == 6)
    reports = [parse_line(line, "this-host") for line in log.read_bytes().splitlines()]
    assert [report.status for report in reports] == [502, 200, 400, 400, 404, 414]
    records = [json.loads(encode(report, Redactor())) for report in reports]
    assert records[0]["queryParams"] == {"token": "[redacted]", "a": '"b"'}
    assert records[0]["pathnameUrl"] == "/fail"
    assert abs(records[0]["occurredAt"] / 1000 - time.time()) < 60


def test_nginxs_own_way_of_rotation_loses_nothing(nginx, collector, tmp_path):
    port, log, process = nginx
    command = [sys.executable, "-m", "arkyn_reporter", "tail", str(log), "--state", str(tmp_path / "state.json")]
    source = str(Path(__file__).parent.parent / "src")
    tail = subprocess.Popen(command, env={"PYTHONPATH": source, "ARKYN_DSN": collector.dsn})
    try:
        wait_until((tmp_path / "state.json").exists)
        for number in range(30):
            ask(port, b"GET /ok HTTP/1.0\r\n\r\n")
            if number % 10 == 5:
                log.rename(f"{log}.{number}")
            if number % 10 == 8:
                process.send_signal(signal.SIGUSR1)
                wait_until(log.exists)
        collector.wait_for(30)
    finally:
        tail.kill()
        tail.wait(timeout=10)
    assert (len(collector.records), collector.repeated) == (30, 0)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd")
def test_the_unit_is_one_that_systemd_takes(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/arkyn-reporter/bin/python", sys.executable))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=30)
    assert UNIT.name not in verified.stderr, verified.stderr
