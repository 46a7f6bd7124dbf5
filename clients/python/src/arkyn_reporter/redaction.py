"""What never leaves the application: the values of sensitive headers, query parameters and body fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from arkyn_reporter.globs import compile_globs

REDACTED = "[redacted]"
NOT_KEPT = "[not kept]"
MAX_NAME = 256
MAX_VALUE = 8_192
MAX_DEPTH = 32
MAX_PARAMETERS = 1_000
# Headers whose value is a URL, which may hold a secret in its query.
_URL_HEADERS = frozenset({"referer", "location", "content-location"})
# The service redacts by the same words. They are found within a name without its separators.
_WORDS = (
    "authorization|authorisation|cookie|token|secret|password|passwd|passphrase|passcode|pwd|apikey|accesskey|"
    "privatekey|authkey|session|sessid|credential|csrf|xsrf|jwt|signature"
)
_SENSITIVE = re.compile(rf"{_WORDS}|^x?auth$")
_SEPARATOR = re.compile(r"[^a-z0-9*]")


class Redactor:
    """Redacts by name: what the words above stand for, and the names or globs given."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        names = [names] if isinstance(names, str) else names
        self._more = compile_globs(_folded(name) for name in names)
        self._remembered = lru_cache(maxsize=2_048)(self._is_sensitive)

    def is_sensitive(self, name: str) -> bool:
        """A name too long to be honest counts as sensitive."""
        return len(name) > MAX_NAME or self._remembered(name)

    def _is_sensitive(self, name: str) -> bool:
        folded = _folded(name)
        return bool(_SENSITIVE.search(folded)) or bool(self._more and self._more.fullmatch(folded))

    def headers(self, pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
        headers: dict[str, str | list[str]] = {}
        for raw_name, raw_value in pairs:
            name = str(raw_name).lower()[:MAX_NAME]
            _add(headers, name, self._header(name, str(raw_value)))
        return headers

    def _header(self, name: str, value: str) -> str:
        if self.is_sensitive(name):
            return REDACTED
        return (self.url(value) if name in _URL_HEADERS else value)[:MAX_VALUE]

    def query(self, text: str) -> dict[str, str | list[str]]:
        parameters: dict[str, str | list[str]] = {}
        for name, value in _pairs(text):
            _add(parameters, name[:MAX_NAME], REDACTED if self.is_sensitive(name) else value[:MAX_VALUE])
        return parameters

    def url(self, text: str) -> str:
        """``text`` with the sensitive parameters of its query redacted, and without its user information."""
        try:
            url = urlsplit(text)
        except ValueError:
            return NOT_KEPT
        query = urlencode(self._redacted(_pairs(url.query)), quote_via=quote, safe="[]")
        return urlunsplit((url.scheme, url.netloc.rpartition("@")[2], url.path, query, ""))

    def _redacted(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, REDACTED if self.is_sensitive(name) else value) for name, value in pairs]

    def body(self, body: bytes, content_type: str) -> Any:
        """A body as it may be reported: JSON and forms redacted by name, other text as it is, anything else not."""
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            return self.query(body.decode("utf-8", "replace"))
        if kind.endswith(("/json", "+json")):
            return self._json_body(body)
        if kind.startswith("text/") or kind.endswith(("/xml", "+xml")):
            return body.decode("utf-8", "replace")
        return NOT_KEPT

    def _json_body(self, body: bytes) -> Any:
        try:
            return self.value(json.loads(body, parse_constant=str))
        except (ValueError, RecursionError):
            return NOT_KEPT

    def value(self, value: Any, depth: int = 0) -> Any:
        """A copy of a JSON value without what stands under a sensitive name."""
        if depth > MAX_DEPTH:
            return NOT_KEPT
        if isinstance(value, dict):
            return {
                str(name): REDACTED if self.is_sensitive(str(name)) else self.value(item, depth + 1)
                for name, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(item, depth + 1) for item in value]
        return value


def _folded(name: str) -> str:
    return _SEPARATOR.sub("", name.lower())


def _pairs(query: str) -> list[tuple[str, str]]:
    """Name and value of each parameter; none where there are absurdly many."""
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        return []


def _add(values: dict[str, str | list[str]], name: str, value: str) -> None:
    """A name that comes again makes a list."""
    known = values.get(name)
    if known is None:
        values[name] = value
    elif isinstance(known, list):
        known.append(value)
    else:
        values[name] = [known, value]
