"""The reporter: what an application holds."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any, Callable

from arkyn_reporter import lifecycle
from arkyn_reporter.asgi import AsgiApp, AsgiMiddleware
from arkyn_reporter.buffer import Counts
from arkyn_reporter.dsn import Dsn, InvalidDsn, parse_dsn
from arkyn_reporter.globs import compile_globs
from arkyn_reporter.log import SaidOnce, logger
from arkyn_reporter.redaction import Redactor
from arkyn_reporter.report import (
    REPORT_OVERHEAD,
    Body,
    Headers,
    Report,
    bare_report,
    encode,
    size_of,
    split_url,
    to_seconds,
)
from arkyn_reporter.sender import Sender
from arkyn_reporter.worker import Worker
from arkyn_reporter.wsgi import WsgiApp, WsgiMiddleware

MAX_QUEUE_BYTES = 16 * 1024 * 1024
TIMEOUT_SECONDS = 10.0
_ORIGIN = re.compile(r"https?://[^\s/?#@]+", re.ASCII | re.IGNORECASE)


class Reporter:
    """Reports requests in the background. Nothing it does raises into the application, or makes it wait.

    ``dsn``: what the service shows with a new ingest token; by default ``ARKYN_DSN``. Without one, nothing is reported.
    ``ignore``: globs of paths that are not reported, such as ``/health*``.
    ``redact``: more names, or globs of names, of headers, query parameters and body fields whose values stay here.
    ``bodies``: whether bodies of requests and responses are reported, redacted.
    ``domain_url``: report this, such as ``https://api.example.com``, in place of what the ``Host`` header says.
    ``max_queue_bytes``: what may wait while the service is away. Beyond it reports are dropped, and counted.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        ignore: Iterable[str] = (),
        redact: Iterable[str] = (),
        bodies: bool = False,
        domain_url: str | None = None,
        max_queue_bytes: int = MAX_QUEUE_BYTES,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._ignored = compile_globs(ignore)
        self._bodies = bodies
        self._domain_url = _checked_origin(domain_url)
        self._encode = partial(encode, redactor=Redactor(redact), domain_url=self._domain_url)
        self._max_queue_bytes = max_queue_bytes
        self._timeout = timeout
        self._said = SaidOnce()
        self._dsn = _usable_dsn(os.environ.get("ARKYN_DSN", "") if dsn is None else dsn)
        self._worker: Worker | None = None
        if self._dsn is not None:
            self.start_anew()
            lifecycle.watch(self)

    def __repr__(self) -> str:
        return f"<Reporter to {self._dsn.service if self._dsn else 'nowhere'}>"

    def wsgi(self, app: WsgiApp) -> WsgiApp:
        """``app.wsgi_app = reporter.wsgi(app.wsgi_app)``"""
        return app if self._dsn is None else WsgiMiddleware(app, self)

    def asgi(self, app: AsgiApp) -> AsgiApp:
        """``app = reporter.asgi(app)``"""
        return app if self._dsn is None else AsgiMiddleware(app, self)

    def report(
        self,
        *,
        status: int,
        method: str,
        url: str,
        elapsed_ms: float,
        request_headers: Any = None,
        response_headers: Any = None,
        request_body: Body = None,
        response_body: Body = None,
        user_id: str | None = None,
        occurred_at: datetime | float | None = None,
        report_id: str | None = None,
    ) -> None:
        """Report one request, of whatever kind. ``url`` is a whole one, or a path if ``domain_url`` is set."""
        try:
            scheme, host, path, query = split_url(url)
            report = Report(
                status=int(status),
                method=str(method),
                scheme=scheme.lower(),
                host=host,
                path=path,
                query=query,
                elapsed_ms=float(elapsed_ms),
                occurred_at=time.time() if occurred_at is None else to_seconds(occurred_at),
                request_headers=_pairs(request_headers),
                response_headers=_pairs(response_headers),
                request_body=request_body,
                response_body=response_body,
                user_id=user_id,
                report_id=report_id,
            )
            size = size_of(report)
        except Exception as error:
            self._said.warn("report", "A report cannot be used (%s).", type(error).__name__)
            return
        self._put(report, size)

    def flush(self, timeout: float = lifecycle.EXIT_SECONDS) -> bool:
        """Send what waits. Returns whether the outcome of all of it is known within ``timeout`` seconds."""
        try:
            return self._worker.flush(timeout) if self._worker else True
        except Exception as error:
            self._said.warn("flush", "Reports could not be flushed (%r).", error)
            return False

    def counts(self) -> Counts:
        """What became of the reports of this process."""
        return self._worker.counts() if self._worker else Counts(0, 0, 0, 0, 0)

    # For the middleware.

    @property
    def takes_bodies(self) -> bool:
        return self._bodies

    def ignores(self, path: str) -> bool:
        return self._ignored is not None and self._ignored.fullmatch(path) is not None

    def put(self, make: Callable[[], Report], status: int, path: str) -> None:
        """Queue the report that ``make`` makes, or where it fails, what else is known. Never raises."""
        try:
            report = make()
            size = size_of(report)
        except Exception as error:
            self.failed(error)
            report = bare_report(status, path)
            size = REPORT_OVERHEAD
        self._put(report, size)

    def _put(self, report: Report, size: int) -> None:
        try:
            if self._worker is not None:
                self._worker.put(report, size)
        except Exception as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """A report could not be made. Say so once."""
        self._said.warn("put", "A report could not be made (%r).", error)

    # For the life cycle.

    def start_anew(self) -> None:
        if self._dsn is not None:
            sender = Sender(self._dsn, self._timeout)
            self._worker = Worker(sender, self._encode, self._max_queue_bytes, self._dsn.service)

    def flush_at_exit(self, timeout: float) -> None:
        if not self.flush(timeout):
            waiting = self.counts().waiting
            logger.warning("%d reports were not sent before the process ended.", waiting)


def _pairs(headers: Any) -> Headers:
    """Headers as a dictionary or as pairs, as pairs."""
    return list(headers.items() if hasattr(headers, "items") else headers or ())


def _usable_dsn(text: str) -> Dsn | None:
    if not text.strip():
        logger.warning("No DSN is given, nor is ARKYN_DSN set: nothing is reported.")
        return None
    try:
        return parse_dsn(text)
    except InvalidDsn as error:
        logger.warning("The DSN cannot be used: %s. Nothing is reported.", error)
        return None


def _checked_origin(url: str | None) -> str | None:
    if url is None:
        return None
    origin = url.rstrip("/")
    if not _ORIGIN.fullmatch(origin):
        logger.warning("domain_url must be such as https://api.example.com, and is not used.")
        return None
    return origin
