"""The DSN, ``http(s)://{token}@{host}/{trafficSourceId}``: all that a reporter needs to know of the service."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

_TOKEN = re.compile(r"[\x21-\x7e]+")
_SOURCE_ID = re.compile(r"[A-Za-z0-9_-]+")
_PREFIX = re.compile(r"(/[\w.~-]+)*", re.ASCII)


class InvalidDsn(ValueError):
    """A DSN cannot be used. The message never quotes it, for it holds a token."""


@dataclass(frozen=True)
class Dsn:
    scheme: str
    host: str
    port: int | None
    path: str
    token: str = field(repr=False)

    @property
    def service(self) -> str:
        """The address of the service, as logs may show it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port else "")


def parse_dsn(text: str) -> Dsn:
    """Raises InvalidDsn."""
    try:
        url = urlsplit(text.strip())
        port = url.port
    except ValueError:
        raise InvalidDsn("it is no URL") from None
    host = _checked_host(url)
    return Dsn(url.scheme, host, port, _batch_path(url), _token(url))


def _checked_host(url: SplitResult) -> str:
    if url.scheme not in ("http", "https"):
        raise InvalidDsn("it must start with http:// or https://")
    if url.query or url.fragment:
        raise InvalidDsn("nothing may follow the traffic source's id")
    if not url.hostname or not url.hostname.isascii() or re.search(r"[\s%]", url.hostname):
        raise InvalidDsn("it has no usable host")
    return url.hostname


def _token(url: SplitResult) -> str:
    token = unquote(url.username or "")
    if url.password is not None or not _TOKEN.fullmatch(token):
        raise InvalidDsn("it has no usable token in front of the host")
    return token


def _batch_path(url: SplitResult) -> str:
    prefix, _, source_id = url.path.rstrip("/").rpartition("/")
    if not _SOURCE_ID.fullmatch(source_id) or not _PREFIX.fullmatch(prefix):
        raise InvalidDsn("it does not end in the id of a traffic source")
    return f"{prefix}/http-traffic-records/{source_id}/batch"
