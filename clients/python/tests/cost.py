"""What a report costs the request: the same application with and without the middleware, call by call in turns.

``python tests/cost.py`` prints microseconds. The background thread sends to a stand-in in a process of its own.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from arkyn_reporter import Reporter

CALLS = 4_000
HEADERS = {f"HTTP_X_HEADER_{number}": "some value of it" for number in range(12)}


def environ() -> dict:
    server = {f"gunicorn.{number}": number for number in range(12)}
    named = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/orders/5", "QUERY_STRING": "page=2"}
    address = {"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "HTTP_HOST": "api.example.com"}
    wsgi = {"wsgi.url_scheme": "https", "wsgi.input": None, "wsgi.errors": sys.stderr}
    return {**HEADERS, **server, **named, **address, **wsgi}


def scope() -> dict:
    names = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    headers = [(b"host", b"api.example.com"), *names]
    named = {"type": "http", "method": "GET", "path": "/orders/5", "query_string": b"page=2", "scheme": "https"}
    return {**named, "headers": headers, "server": ("127.0.0.1", 8000), "root_path": ""}


def bare_wsgi(environ: dict, start_response: Callable) -> object:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return iter([b"ok"])


async def bare_asgi(scope: dict, receive: Callable, send: Callable) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok"})


def flask() -> Flask:
    app = Flask(__name__)
    app.get("/orders/<int:id>")(lambda **_: "ok")
    return app


def starlette() -> Starlette:
    async def order(request: object) -> PlainTextResponse:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/orders/{id:int}", order)])


def call_wsgi(app: Callable) -> int:
    request = environ()
    started = time.perf_counter_ns()
    body = app(request, lambda *_: None)
    for _ in body:
        pass
    if hasattr(body, "close"):
        body.close()
    return time.perf_counter_ns() - started


def call_asgi(app: Callable, loop: asyncio.AbstractEventLoop) -> int:
    async def receive() -> dict:
        return {"type": "http.request"}

    async def send(message: dict) -> None:
        pass

    request = scope()

    async def call() -> int:
        started = time.perf_counter_ns()
        await app(request, receive, send)
        return time.perf_counter_ns() - started

    return loop.run_until_complete(call())


def measure(name: str, plain: Callable[[], int], reporting: Callable[[], int], pause: float) -> None:
    differences, alone = [], []
    for call in range(CALLS):
        # The second of a pair finds warmer caches.
        first, second = (plain, reporting) if call % 2 else (reporting, plain)
        one, other = first(), second()
        alone.append(one if call % 2 else other)
        differences.append(other - one if call % 2 else one - other)
        time.sleep(pause)
    differences.sort()
    shown = [sorted(alone)[CALLS // 2], *(differences[int(CALLS * share)] for share in (0.5, 0.9, 0.99))]
    print(f"| {name} | " + " | ".join(f"{nanoseconds / 1000:.1f}" for nanoseconds in shown) + " |", flush=True)


def main() -> None:
    logging.disable()
    collector = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "collector.py")], stdout=subprocess.PIPE, text=True
    )
    try:
        measure_all(Reporter(collector.stdout.readline().strip()))
    finally:
        collector.kill()


def measure_all(reporter: Reporter) -> None:
    loop = asyncio.new_event_loop()
    print("| application | alone, median | added, median | added, 90 % | added, 99 % |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, app in (("WSGI alone", bare_wsgi), ("Flask", flask())):
        wrapped = reporter.wsgi(app)
        measure(name, lambda: call_wsgi(app), lambda: call_wsgi(wrapped), 0.001)  # noqa: B023
    for name, app in (("ASGI alone", bare_asgi), ("Starlette", starlette())):
        wrapped = reporter.asgi(app)
        measure(name, lambda: call_asgi(app, loop), lambda: call_asgi(wrapped, loop), 0.001)  # noqa: B023
    reporter.flush(10)
    print(reporter.counts())
    loop.close()


if __name__ == "__main__":
    main()
