"""A report: what is said of one request. Requests only gather its parts; the background thread makes JSON of them."""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple, Union
from urllib.parse import urlsplit

from arkyn_reporter.redaction import Redactor

# As the server has them: pairs of text or bytes, under the names of HTTP or of WSGI's environ.
Headers = Sequence[tuple[Any, Any]]
Body = Union[bytes, str, dict[str, Any], list[Any], None]

FATAL = 500
MAX_PATH = 2_000
MAX_RECORD_BYTES = 1024 * 1024
# What Python objects take beyond their characters: of a report, and of a pair of strings.
REPORT_OVERHEAD = 600
PAIR_OVERHEAD = 170
_HOST = re.compile(r"(?:[\w.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[1-9]\d{0,4})?", re.ASCII)
_NO_METHOD_CHARACTER = re.compile(r"[^A-Za-z-]")


class Report(NamedTuple):
    status: int
    method: str
    scheme: str
    host: str
    path: str
    query: str
    elapsed_ms: float
    occurred_at: float
    request_headers: Headers = ()
    response_headers: Headers = ()
    request_body: Body = None
    response_body: Body = None
    user_id: str | None = None
    report_id: str | None = None
    # For a host that is empty or no host, after the header.
    server: str = ""

    @property
    def is_fatal(self) -> bool:
        return self.status >= FATAL

    def bare(self) -> Report:
        """Without all that a request may have filled with anything."""
        return Report(
            self.status,
            str(self.method),
            self.scheme,
            self.host,
            self.path,
            "",
            self.elapsed_ms,
            self.occurred_at,
            server=self.server,
        )


def bare_report(status: int, path: str) -> Report:
    """What can be said of a request that nothing else can be read of: an odd request must not cost an alarm."""
    return Report(status, "", "http", "localhost", path, "", 0.0, time.time())


class Unusable(ValueError):
    """A report cannot be made into a record."""


def size_of(report: Report) -> int:
    """About as many bytes as the report takes while it waits."""
    size = REPORT_OVERHEAD + len(report.path) + len(report.query)
    for name, value in report.request_headers:
        size += PAIR_OVERHEAD + len(name) + len(value)
    for name, value in report.response_headers:
        size += PAIR_OVERHEAD + len(name) + len(value)
    if report.request_body is not None:
        size += _body_size(report.request_body)
    if report.response_body is not None:
        size += _body_size(report.response_body)
    return size


def _body_size(body: Body) -> int:
    return len(body) if isinstance(body, (bytes, str)) else len(repr(body))


def encode(report: Report, redactor: Redactor, domain_url: str | None = None) -> bytes:
    """The record as the service takes it, as JSON. Raises Unusable."""
    try:
        text = json.dumps(_record(report, redactor, domain_url), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unusable(type(error).__name__) from error
    record = text.encode("utf-8", "replace")
    if len(record) > MAX_RECORD_BYTES:
        raise Unusable("too large")
    return record


def _record(report: Report, redactor: Redactor, domain_url: str | None) -> dict[str, Any]:
    request_headers = to_pairs(report.request_headers)
    response_headers = to_pairs(report.response_headers)
    host = usable_host(report.host, header(request_headers, "host"), report.server)
    record: dict[str, Any] = {
        "reportId": report.report_id or str(uuid.uuid4()),
        "occurredAt": int(report.occurred_at * 1000),
        "domainUrl": domain_url or f"{report.scheme}://{host}",
        "pathnameUrl": report.path[:MAX_PATH] or "/",
        "protocol": domain_url.partition(":")[0] if domain_url else report.scheme,
        "status": report.status if 100 <= report.status <= 999 else FATAL,
        "method": usable_method(report.method),
        "elapsedTime": usable_elapsed(report.elapsed_ms),
        "queryParams": redactor.query(report.query),
        "requestHeaders": redactor.headers(request_headers),
        "responseHeaders": redactor.headers(response_headers),
    }
    if report.user_id:
        record["trafficUserId"] = str(report.user_id)
    if report.request_body is not None:
        record["requestBody"] = _body(report.request_body, request_headers, redactor)
    if report.response_body is not None:
        record["responseBody"] = _body(report.response_body, response_headers, redactor)
    return record


def _body(body: Body, headers: Iterable[tuple[str, str]], redactor: Redactor) -> Any:
    if isinstance(body, bytes):
        return redactor.body(body, header(headers, "content-type"))
    return redactor.value(body)


def header(headers: Iterable[tuple[str, str]], name: str) -> str:
    return next((value for key, value in headers if key.lower() == name), "")


def usable_method(method: str) -> str:
    return _NO_METHOD_CHARACTER.sub("", method).strip("-")[:20] or "unknown"


def usable_elapsed(elapsed_ms: float) -> float:
    return round(max(elapsed_ms, 0.0), 3) if math.isfinite(elapsed_ms) else 0.0


def usable_host(*candidates: str) -> str:
    """The first of the candidates that is a host, with or without a port."""
    for candidate in candidates:
        if _HOST.fullmatch(candidate) and _has_usable_port(candidate):
            return candidate
    return "localhost"


def _has_usable_port(host: str) -> bool:
    port = host.rpartition("]")[2].rpartition(":")[2]
    return not port.isdigit() or ":" not in host or int(port) <= 65_535


def to_seconds(moment: datetime | float) -> float:
    """Unix time of a moment; a datetime without a zone is UTC."""
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    return float(moment)


def to_pairs(headers: Headers) -> list[tuple[str, str]]:
    """The headers as text, under their names in HTTP."""
    return [(_name(_text(name)), _text(value)) for name, value in headers]


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _name(name: str) -> str:
    return name[5:].replace("_", "-") if name.startswith("HTTP_") else name


def split_url(url: str) -> tuple[str, str, str, str]:
    """Scheme, host, path and query of a URL, or of a path alone, which has neither scheme nor host."""
    parts = urlsplit(url)
    return parts.scheme or "http", parts.netloc.rpartition("@")[2], parts.path or "/", parts.query
