"""The ASGI middleware. Messages pass through as they are; WebSockets are left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, MutableMapping
from typing import TYPE_CHECKING, Any, Callable

from arkyn_reporter.bodies import Preview, is_reportable
from arkyn_reporter.report import FATAL, Headers, Report, header, to_pairs
from arkyn_reporter.routes import asgi_route, hook_into_django, hook_into_quart

if TYPE_CHECKING:
    from arkyn_reporter.reporter import Reporter

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

# nginx's status for a client that went away before there was an answer.
CLIENT_CLOSED_REQUEST = 499


class AsgiMiddleware:
    def __init__(self, app: AsgiApp, reporter: Reporter) -> None:
        self._app = app
        self._reporter = reporter
        hook_into_django(app)
        hook_into_quart()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await Lifespan(self._app, self._reporter).run(scope, receive, send)
            return
        request = self._begin(scope, receive, send)
        if request is None:
            await self._app(scope, receive, send)
        else:
            await request.run(self._app)

    def _begin(self, scope: Scope, receive: Receive, send: Send) -> AsgiRequest | None:
        """None for what is not reported."""
        try:
            if scope["type"] != "http" or self._reporter.ignores(scope["path"]):
                return None
            return AsgiRequest(self._reporter, scope, receive, send)
        except Exception as error:
            self._reporter.failed(error)
            return None


class AsgiRequest:
    """One request under way."""

    def __init__(self, reporter: Reporter, scope: Scope, receive: Receive, send: Send) -> None:
        self._reporter = reporter
        self._scope = scope
        self._receive = receive
        self._send = send
        self._path: str = scope["path"]
        self._status: int | None = None
        self._headers: Any = ()
        self._client_left = False
        self._reported = False
        self._request_body = Preview() if reporter.takes_bodies else None
        self._response_body = Preview() if reporter.takes_bodies else None
        self._started = time.perf_counter()

    async def run(self, app: AsgiApp) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except BaseException as error:
            self._report(self._status_of(error))
            raise
        self._report(self._status or (CLIENT_CLOSED_REQUEST if self._client_left else FATAL))

    def _status_of(self, error: BaseException) -> int:
        """An exception is a 500, but for those by which frameworks and servers say that the client went away."""
        left = isinstance(error, asyncio.CancelledError) or (
            self._client_left and (isinstance(error, OSError) or type(error).__name__ == "ClientDisconnect")
        )
        return (self._status or CLIENT_CLOSED_REQUEST) if left else FATAL

    async def receive(self) -> Any:
        message = await self._receive()
        self._note(self._received, message)
        return message

    async def send(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            self._client_left = True
            raise
        self._note(self._sent, message)

    def _note(self, look: Callable[[Message], None], message: Message) -> None:
        try:
            look(message)
        except Exception as error:
            self._reporter.failed(error)

    def _received(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self._client_left = True
        elif self._request_body is not None:
            self._request_body.add(message.get("body", b""))

    def _sent(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = int(message["status"])
            self._headers = message.get("headers", ())
            return
        if self._response_body is not None:
            self._response_body.add(message.get("body", b""))
        if self._status is not None and _is_last(message):
            self._report(self._status)

    def _report(self, status: int) -> None:
        """Report the request, once. Never raises."""
        if self._reported:
            return
        self._reported = True
        self._reporter.put(lambda: self._made(status), status, self._path)

    def _made(self, status: int) -> Report:
        scope = self._scope
        elapsed = time.perf_counter() - self._started
        request_headers = list(scope["headers"])
        response_headers = list(self._headers)
        return Report(
            status=status,
            method=scope["method"],
            scheme="https" if scope.get("scheme") == "https" else "http",
            host="",
            server=_server(scope),
            path=asgi_route(scope, self._path) or self._path,
            query=scope.get("query_string", b"").decode("latin-1"),
            elapsed_ms=elapsed * 1000,
            occurred_at=time.time(),
            request_headers=request_headers,
            response_headers=response_headers,
            request_body=_reportable(self._request_body, request_headers),
            response_body=_reportable(self._response_body, response_headers),
        )


class Lifespan:
    """Flushes when the server shuts down: some then end the process without running its exit handlers.

    An application that knows no lifespan returns or raises before it has read or sent anything. For such a one this
    answers the server, which would otherwise send no shutdown.
    """

    def __init__(self, app: AsgiApp, reporter: Reporter) -> None:
        self._app = app
        self._reporter = reporter
        self._touched = False

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_noting() -> Any:
            self._touched = True
            return await receive()

        async def send_noting(message: Message) -> None:
            self._touched = True
            if message["type"].startswith("lifespan.shutdown"):
                self._reporter.flush()
            await send(message)

        try:
            await self._app(scope, receive_noting, send_noting)
        except Exception:
            if self._touched:
                raise
        if not self._touched:
            await self._answer(receive, send)

    async def _answer(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._reporter.flush()
        await send({"type": "lifespan.shutdown.complete"})


def _is_last(message: Message) -> bool:
    kind = message["type"]
    if kind in ("http.response.body", "http.response.zerocopysend"):
        return not message.get("more_body", False)
    return bool(kind == "http.response.pathsend")


def _server(scope: Scope) -> str:
    host, port = scope.get("server") or ("", None)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reportable(body: Preview | None, headers: Headers) -> bytes | None:
    return body.text() if body is not None and is_reportable(header(to_pairs(headers), "content-type")) else None
