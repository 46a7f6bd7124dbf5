"""Guards the parsing of untrusted JSON: bounds its number of values and its depth, and repairs it. Pure."""

import json
import math
import re
from typing import Any

import orjson

from app.greenlets import yielding

# A string, or the rest of the text if the string does not end. Possessive, to prevent backtracking.
_STRING = r'"(?:[^"\\]++|\\.?)*+(?:"|\Z)'
_STRINGS = re.compile(_STRING.encode(), re.DOTALL)
_STRING_OR_BRACKET = re.compile(rf"{_STRING}|[\[{{]|[\]}}]", re.DOTALL)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
MAX_DEPTH = 100
MAX_TOKENS = 4_000_000
TOO_MANY = "[too many values]"
TOO_DEEP = "[nested too deep]"


def holds_more_values(body: bytes, limit: int) -> bool:
    """Whether parsing ``body`` could create more than about ``limit`` values, of about 60 bytes each."""
    return _separators(body) > limit and _separators(_STRINGS.sub(b'""', body)) > limit


def without_values(body: bytes, max_depth: int, limit: int) -> Any:
    """Parse a body that holds too many values, with TOO_MANY in place of those nested deeper than ``max_depth``.

    Raises ValueError if it is not JSON, or still holds more than ``limit`` values.
    """
    text = flattened(body.decode(errors="replace"), max_depth, TOO_MANY).encode()
    if holds_more_values(text, limit):
        raise ValueError
    return orjson.loads(text)


def is_json(text: str) -> bool:
    """Whether ``text`` is JSON that clients can parse."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _separators(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


class ValueBudget:
    """The number of values that may still be parsed from the JSON strings of one request."""

    def __init__(self, values: int) -> None:
        self.left = values

    def allows(self, text: str) -> bool:
        """Whether ``text`` may be parsed. If so, its values are deducted."""
        values = text.count(",") + text.count("[") + text.count("{")
        if values > self.left:
            return False
        self.left -= values
        return True


def loads_repaired(body: bytes) -> Any:
    r"""Parse a body with the invalid JSON that common libraries write for unusual input.

    Lone surrogates (``\ud800``, by JavaScript and Python) and invalid UTF-8 become U+FFFD; ``NaN``, ``Infinity`` and
    numbers beyond a double (by Python) become null; values deeper than MAX_DEPTH become TOO_DEEP. Raises ValueError
    for any other invalid JSON.
    """
    text = body.decode(errors="replace")
    try:
        return _with_whole_characters(_loads(text))
    except TooDeep:
        return _with_whole_characters(_loads(flattened(text, MAX_DEPTH, TOO_DEEP)))


class TooDeep(ValueError):
    """JSON is nested too deep to be parsed or serialised."""


def _with_whole_characters(value: Any) -> Any:
    try:
        written = json.dumps(value, ensure_ascii=False)
        return orjson.loads(_LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", written).encode())
    except (RecursionError, orjson.JSONDecodeError):
        raise TooDeep from None


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=lambda _: None)
    except RecursionError:
        raise TooDeep from None


def _number(digits: str) -> float | int | None:
    if len(digits) < 19 and digits.lstrip("-").isdigit():
        return int(digits)
    number = float(digits)
    return number if math.isfinite(number) else None


def flattened(text: str, max_depth: int, instead: str) -> str:
    """JSON text with the string ``instead`` in place of values nested deeper than ``max_depth``.

    Raises ValueError for more than MAX_TOKENS strings and brackets.
    """
    if text.count('"') + sum(map(text.count, "[]{}")) > MAX_TOKENS:
        raise ValueError
    kept, depth, kept_to, hole_from = [], 0, 0, 0
    for found in yielding(_STRING_OR_BRACKET.finditer(text)):
        if found[0] in ("[", "{"):
            depth += 1
            if depth == max_depth + 1:
                hole_from = found.start()
        elif found[0] in ("]", "}"):
            if depth == max_depth + 1:
                kept += [text[kept_to:hole_from], json.dumps(instead)]
                kept_to = found.end()
            depth -= 1
    return "".join([*kept, text[kept_to:]]) if kept else text
