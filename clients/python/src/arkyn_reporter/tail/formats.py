"""Lines of access logs as reports: nginx as JSON, Caddy, and the combined format of nginx and Apache."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from arkyn_reporter.report import Headers, Report, to_seconds, usable_host

# The combined format, perhaps behind "host:port" and before the seconds that the request took.
_COMBINED = re.compile(
    r"(?:(?P<host>[\w.-]+|\[[\da-fA-F:.]+\])(?::(?P<port>\d+))? )?"
    r"\S+ \S+ (?:\S+|\"[^\"]*\") \[(?P<time>[^\]]+)\] "
    r"\"(?P<request>(?:[^\"\\]|\\.)*)\" (?P<status>\d{3}) (?:\d+|-)"
    r"(?: \"(?P<referer>(?:[^\"\\]|\\.)*)\" \"(?P<agent>(?:[^\"\\]|\\.)*)\")?"
    r"(?: (?:rt=)?(?P<seconds>\d+(?:\.\d+)?))?(?: .*)?"
)
_COMBINED_TIME = "%d/%b/%Y:%H:%M:%S %z"
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


class NoAccessLine(ValueError):
    """A line does not tell of one request."""


def parse_line(line: bytes, default_host: str) -> Report:
    """``default_host`` stands for the host where the format names none. Raises NoAccessLine."""
    text = line.strip(b"\x00\r\n \t").decode("utf-8", "replace")
    try:
        return _from_json(text, default_host) if text.startswith("{") else _from_combined(text, default_host)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise NoAccessLine from error


def _from_json(text: str, default_host: str) -> Report:
    fields = json.loads(text)
    if isinstance(fields.get("request"), dict):
        return _from_caddy(fields, default_host)
    return _from_nginx(fields, default_host)


def _from_nginx(fields: Mapping[str, Any], default_host: str) -> Report:
    """The fields of the ``log_format`` that the documentation gives."""
    path, query = _split_target(fields["uri"])
    return Report(
        status=_status(fields["status"]),
        method=str(fields["method"]),
        scheme="https" if fields.get("scheme") == "https" else "http",
        host=usable_host(str(fields.get("host") or ""), default_host),
        path=path,
        query=query,
        elapsed_ms=float(fields.get("request_time") or 0) * 1000,
        occurred_at=_moment(fields["time"]),
        request_headers=_named(fields, referer="referer", user_agent="user-agent", request_id="x-request-id"),
    )


def _from_caddy(fields: Mapping[str, Any], default_host: str) -> Report:
    """Caddy logs other things, too: its errors repeat the request that its access log tells of."""
    if not str(fields.get("logger", "http.log.access")).startswith("http.log.access"):
        raise NoAccessLine
    request = fields["request"]
    path, query = _split_target(request["uri"])
    return Report(
        status=_status(fields["status"]),
        method=str(request["method"]),
        scheme="https" if request.get("tls") else "http",
        host=usable_host(str(request.get("host") or ""), default_host),
        path=path,
        query=query,
        elapsed_ms=_seconds(fields.get("duration", 0)) * 1000,
        occurred_at=_moment(fields["ts"]),
        request_headers=_caddy_headers(request.get("headers")),
        response_headers=_caddy_headers(fields.get("resp_headers")),
    )


def _from_combined(text: str, default_host: str) -> Report:
    match = _COMBINED.fullmatch(text)
    if match is None:
        raise NoAccessLine
    method, target = _request_line(match["request"])
    path, query = _split_target(target)
    port = f":{match['port']}" if match["port"] not in (None, "80", "443") else ""
    return Report(
        status=_status(match["status"]),
        method=method,
        scheme="https" if match["port"] == "443" else "http",
        host=usable_host(f"{match['host'] or ''}{port}", default_host),
        path=path,
        query=query,
        elapsed_ms=float(match["seconds"] or 0) * 1000,
        occurred_at=datetime.strptime(match["time"], _COMBINED_TIME).timestamp(),
        request_headers=_named(match.groupdict(), referer="referer", agent="user-agent"),
    )


def _request_line(text: str) -> tuple[str, str]:
    """Method and target; a client that speaks no HTTP leaves anything here, or nothing."""
    words = text.split(" ")
    return (words[0], words[1]) if len(words) > 1 else ("", "/")


def _split_target(target: str) -> tuple[str, str]:
    """Path and query of what a request asks for: a path, a whole URL, ``*``, or the host of a CONNECT."""
    if not target.startswith("/"):
        try:
            url = urlsplit(target)
        except ValueError:
            return "/", ""
        return (url.path or "/", url.query) if url.netloc else ("/", "")
    path, _, query = target.partition("?")
    return path, query


def _status(value: Any) -> int:
    status = int(value)
    if not 100 <= status <= 999:
        raise NoAccessLine
    return status


def _moment(value: Any) -> float:
    """Unix seconds, as a number or as text, or an ISO 8601 time."""
    try:
        return float(value)
    except ValueError:
        return to_seconds(datetime.fromisoformat(re.sub(r"Z$", "+00:00", str(value))))


def _seconds(duration: Any) -> float:
    if isinstance(duration, (int, float)):
        return float(duration)
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(str(duration)))


def _named(fields: Mapping[str, Any], **headers: str) -> Headers:
    """The fields that hold headers; logs write a dash for a header that was not there."""
    return [(name, str(fields[field])) for field, name in headers.items() if fields.get(field) not in (None, "", "-")]


def _caddy_headers(headers: Any) -> Headers:
    if not isinstance(headers, dict):
        return []
    return [(name, str(value)) for name, values in headers.items() for value in values or ()]
