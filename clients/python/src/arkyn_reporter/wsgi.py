"""The WSGI middleware. Bodies pass through as they are: a list stays that list, a file stays that file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Callable

from arkyn_reporter.bodies import Preview, ReadAlong, is_reportable
from arkyn_reporter.report import FATAL, Headers, Report
from arkyn_reporter.routes import hook_into_django, wsgi_route

if TYPE_CHECKING:
    from arkyn_reporter.reporter import Reporter

Environ = MutableMapping[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Any, Any], Iterable[bytes]]


class WsgiMiddleware:
    def __init__(self, app: WsgiApp, reporter: Reporter) -> None:
        self._app = app
        self._reporter = reporter
        hook_into_django(app)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Any:
        request = self._begin(environ, start_response)
        if request is None:
            return self._app(environ, start_response)
        try:
            body = self._app(environ, request.start_response)
        except BaseException:
            request.fail()
            raise
        return request.watch(body)

    def _begin(self, environ: Environ, start_response: StartResponse) -> WsgiRequest | None:
        """None for a request that is not reported."""
        try:
            path = _path(environ)
            if self._reporter.ignores(path) or _is_websocket(environ):
                return None
            return WsgiRequest(self._reporter, environ, path, start_response)
        except Exception as error:
            self._reporter.failed(error)
            return None


class WsgiRequest:
    """One request under way."""

    def __init__(self, reporter: Reporter, environ: Environ, path: str, start_response: StartResponse) -> None:
        self._reporter = reporter
        self._environ = environ
        self._path = path
        self._start_response = start_response
        self._status: Any = None
        self._headers: Any = ()
        self._route: str | None = None
        self._reported = False
        self._request_body: Preview | None = None
        self.response_body: Preview | None = None
        if reporter.takes_bodies:
            self._read_along()
        self._started = time.perf_counter()

    def _read_along(self) -> None:
        self.response_body = Preview()
        if is_reportable(self._environ.get("CONTENT_TYPE", "")) and "wsgi.input" in self._environ:
            self._request_body = Preview()
            self._environ["wsgi.input"] = ReadAlong(self._environ["wsgi.input"], self._request_body)

    def start_response(self, status: Any, headers: Any, *exc_info: Any) -> Any:
        self._status = status
        self._headers = headers
        try:
            self._route = wsgi_route(self._environ) or self._route
        except Exception as error:
            self._reporter.failed(error)
        return self._start_response(status, headers, *exc_info)

    def watch(self, body: Any) -> Any:
        """The body, to be reported when it is over: as it is, where that can be known without looking at its parts."""
        if isinstance(body, (list, tuple)):
            if self.response_body is not None:
                self.response_body.add_all(body)
            self.report()
            return body
        if _is_file(body, self._environ):
            return self._watch_file(body)
        return WatchedBody(body, self)

    def _watch_file(self, body: Any) -> Any:
        """A server sends a file by itself only if it gets the very object that its wrapper made."""
        self.response_body = None
        close = getattr(body, "close", None)
        try:
            body.close = lambda: self.close(close)
        except AttributeError:
            self.report()
        return body

    def close(self, close: Callable[[], object] | None) -> None:
        try:
            if close is not None:
                close()
        except BaseException:
            self.fail()
            raise
        self.report()

    def fail(self) -> None:
        """The application raised."""
        self.report(FATAL)

    def report(self, status: int | None = None) -> None:
        """Report the request, once. Never raises."""
        if self._reported:
            return
        self._reported = True
        code = status or _code(self._status)
        self._reporter.put(lambda: self._made(code), code, self._path)

    def _made(self, status: int) -> Report:
        environ = self._environ
        elapsed = time.perf_counter() - self._started
        return Report(
            status=status,
            method=environ.get("REQUEST_METHOD", ""),
            scheme="https" if environ.get("wsgi.url_scheme") == "https" else "http",
            host=environ.get("HTTP_HOST", ""),
            server=f"{environ.get('SERVER_NAME')}:{environ.get('SERVER_PORT')}",
            path=self._path if self._route is None else f"{environ.get('SCRIPT_NAME') or ''}{self._route}",
            query=environ.get("QUERY_STRING", ""),
            elapsed_ms=elapsed * 1000,
            occurred_at=time.time(),
            request_headers=_request_headers(environ),
            response_headers=list(self._headers),
            request_body=self._request_body.text() if self._request_body else None,
            response_body=self._response_preview(),
        )

    def _response_preview(self) -> bytes | None:
        if self.response_body is None:
            return None
        kind = next((value for name, value in self._headers if name.lower() == "content-type"), "")
        return self.response_body.text() if is_reportable(kind) else None


class WatchedBody:
    """An iterable body; it is over when it is exhausted, closed, or raises."""

    def __init__(self, body: Iterable[bytes], request: WsgiRequest) -> None:
        self._body = body
        self._request = request
        self._parts: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._parts is None:
                self._parts = iter(self._body)
            part = next(self._parts)
        except StopIteration:
            self._request.report()
            raise
        except BaseException:
            self._request.fail()
            raise
        if self._request.response_body is not None:
            self._request.response_body.add(part)
        return part

    def close(self) -> None:
        self._request.close(getattr(self._body, "close", None))


def _code(status: Any) -> int:
    """The number in a status line. A server answers 500 where there is none."""
    try:
        return int(status[:3])
    except (TypeError, ValueError):
        return FATAL


def _path(environ: Environ) -> str:
    """The whole path. WSGI shows its bytes as Latin-1."""
    path = f"{environ.get('SCRIPT_NAME') or ''}{environ.get('PATH_INFO') or ''}"
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


def _is_websocket(environ: Environ) -> bool:
    upgrade = environ.get("HTTP_UPGRADE")
    return upgrade is not None and str(upgrade).lower() == "websocket"


def _is_file(body: object, environ: Environ) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def _request_headers(environ: Environ) -> Headers:
    headers = [item for item in environ.items() if item[0][:5] == "HTTP_"]
    if environ.get("CONTENT_TYPE"):
        headers.append(("content-type", environ["CONTENT_TYPE"]))
    if environ.get("CONTENT_LENGTH"):
        headers.append(("content-length", environ["CONTENT_LENGTH"]))
    return headers
