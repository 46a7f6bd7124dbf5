"""Reports of the spans of HTTP servers, by the stable semantic conventions for HTTP and by the older ones."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qs, urlsplit

from app.caches import remember_short
from app.greenlets import yielding
from app.otlp.spans import Attribute, Span, Unusable
from app.reported import MAX_HOST_LENGTH, METHOD, as_path, as_user_id

# In nanoseconds, like the times of spans.
SECOND = 1_000_000_000
# A clock may be set back during a request, but not by much.
MAX_SET_BACK = SECOND
MAX_ELAPSED = 30 * 24 * 3600 * SECOND
SCHEMES = {"https": "https", "wss": "https"}
STATUS = re.compile(r"[1-9][0-9]{2}")
AUTHORITY = re.compile(r"[^\s/?#@\\\x00-\x1f\x7f]+")
NO_LETTER_OF_A_HOST = re.compile(r"[^A-Za-z0-9.-]+")
# Lengths in characters, and a number of parameters.
MAX_USER_AGENT = 1_000
MAX_QUERY = 8_192
MAX_PARAMETERS = 100

Attributes = dict[str, Attribute]


class Encoding(Protocol):
    """``app.otlp.protobuf`` or ``app.otlp.json``."""

    MIMETYPE: str

    def split(self, body: bytes, /) -> Iterator[Any]: ...
    def parse(self, piece: Any, /) -> Span | None: ...
    def response(self, rejected: int, message: str, /) -> bytes: ...


@dataclass
class Traces:
    """The reports of one request's spans, the number of spans ignored, and those rejected by reason."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    ignored: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        return self.reasons.total()

    @property
    def message(self) -> str:
        return "; ".join(f"{reason} ({number:,})" for reason, number in self.reasons.most_common())


def read(body: bytes, encoding: Encoding) -> Traces:
    """Read a request. An unusable span does not affect the others. Raises Unreadable, TooManyFields."""
    traces = Traces()
    for piece in yielding(encoding.split(body)):
        try:
            span = encoding.parse(piece)
            report = span and report_of(span)
        except Unusable as error:
            traces.reasons[str(error)] += 1
        else:
            if report:
                traces.reports.append(report)
            else:
                traces.ignored += 1
    return traces


def report_of(span: Span) -> dict[str, Any] | None:
    """The report of a span, as ``NewTrafficRecordSchema`` loads one, with ``report_id`` and ``occurred_at``.

    None if the span is not about an HTTP request, or about one that was neither answered nor failed. Raises Unusable.
    """
    given = span.attributes
    method = _text(given, "http.request.method", "http.method")
    status = _status(span)
    if not method or status is None:
        return None
    url = _url(given)
    protocol = SCHEMES.get((_text(given, "url.scheme", "http.scheme") or url.scheme).lower(), "http")
    path, query = _path_and_query(given, url)
    return {
        "domain_url": f"{protocol}://{_authority(span, url, protocol)}",
        "pathname_url": path,
        "status": status,
        "protocol": protocol,
        "method": _method(method, given),
        "traffic_user_id": _user_id(given),
        "elapsed_time": _elapsed_ms(span),
        "request_headers": _request_headers(given),
        "request_body": None,
        "query_params": _query_params(query),
        "response_headers": {},
        "response_body": None,
        "report_id": f"{span.trace_id}-{span.span_id}" if span.trace_id and span.span_id else None,
        "occurred_at": datetime.fromtimestamp(span.start / SECOND, UTC),
    }


def _text(given: Attributes, *names: str) -> str:
    """The first of these attributes that is there and not empty."""
    for name in names:
        if text := str(given.get(name, "")):
            return text
    return ""


def _status(span: Span) -> int | None:
    """An exception that no one handled leaves no status: a server answers 500 to it, after its span has ended."""
    given = _text(span.attributes, "http.response.status_code", "http.status_code").removesuffix(".0")
    if not given:
        return 500 if span.is_error else None
    if not STATUS.fullmatch(given):
        raise Unusable("the status code of a span is none")
    return int(given)


def _method(method: str, given: Attributes) -> str:
    """``_OTHER`` stands for a method that the instrumentation does not know."""
    if method == "_OTHER":
        method = _text(given, "http.request.method_original")
    return method.lower() if METHOD.fullmatch(method) else "other"


def _url(given: Attributes) -> SplitResult:
    try:
        return urlsplit(_text(given, "url.full", "http.url"))
    except ValueError:
        return SplitResult("", "", "", "", "")


def _authority(span: Span, url: SplitResult, protocol: str) -> str:
    """Host and port: the first that can be those of a URL. Where nothing names one, the service's name is the host."""
    given = span.attributes
    candidates: tuple[Callable[[], str], ...] = (
        lambda: _with_port(_text(given, "server.address"), _text(given, "server.port")),
        lambda: _text(given, "http.host"),
        lambda: _with_port(_text(given, "net.host.name"), _text(given, "net.host.port")),
        lambda: _with_port(_text(given, "http.server_name"), _text(given, "net.host.port")),
        lambda: url.netloc.rpartition("@")[2],
        lambda: NO_LETTER_OF_A_HOST.sub("-", span.service_name())[:MAX_HOST_LENGTH].strip("-."),
    )
    for candidate in candidates:
        authority = candidate()
        if _is_origin(f"{protocol}://{authority}"):
            return authority
    raise Unusable("a span names neither a host nor a service")


def _with_port(host: str, port: str) -> str:
    """Some instrumentations write the header Host, which holds the port, where only the host should be."""
    if host.count(":") == 1 or "]:" in host:
        return host
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{host}:{port}" if host and port.isdecimal() and 0 < int(port[:6]) < 65_536 else host


@remember_short(1024)
def _is_origin(url: str) -> bool:
    """Whether ``url`` has nothing but a scheme, a host, and a port or none."""
    authority = url.partition("://")[2]
    if not AUTHORITY.fullmatch(authority) or len(authority.lower()) > MAX_HOST_LENGTH:
        return False
    try:
        split = urlsplit(url)
        return bool(split.hostname) and split.port != 0
    except ValueError:
        return False


def _path_and_query(given: Attributes, url: SplitResult) -> tuple[str, str]:
    target, _, query = _text(given, "http.target").partition("?")
    path = _text(given, "url.path") or target or url.path or _text(given, "http.route")
    return as_path(path), _text(given, "url.query") or query or url.query


def _query_params(query: str) -> dict[str, Any]:
    parameters = "&".join(query.removeprefix("?")[:MAX_QUERY].split("&", MAX_PARAMETERS)[:MAX_PARAMETERS])
    found = parse_qs(parameters, keep_blank_values=True)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _request_headers(given: Attributes) -> dict[str, str]:
    user_agent = _text(given, "user_agent.original", "http.user_agent")[:MAX_USER_AGENT]
    return {"user-agent": user_agent} if user_agent else {}


def _user_id(given: Attributes) -> str | None:
    return as_user_id(_text(given, "user.id", "enduser.id")) or None


def _elapsed_ms(span: Span) -> float:
    elapsed = span.end - span.start
    if not span.start or not -MAX_SET_BACK <= elapsed <= MAX_ELAPSED:
        raise Unusable("the times of a span cannot be those of a request")
    return max(0, elapsed) / 1_000_000
