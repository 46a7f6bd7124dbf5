"""What is done with JSON of strangers before and instead of parsing it: it is counted, and repaired. Pure."""

import json
import math
import re
from typing import Any

import orjson

from app.greenlets import in_turns

# A string, or the rest of the text where it does not end. Possessive, so that it never goes back.
_STRING = r'"(?:[^"\\]++|\\.?)*+(?:"|\Z)'
_STRINGS = re.compile(_STRING.encode(), re.DOTALL)
_STRING_OR_BRACKET = re.compile(rf"{_STRING}|[\[{{]|[\]}}]", re.DOTALL)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
MAX_DEPTH = 100
MAX_TOKENS = 4_000_000
TOO_MANY = "[too many values]"
TOO_DEEP = "[nested too deep]"


def holds_more_values(body: bytes, limit: int) -> bool:
    """Whether parsing ``body`` could make more than about ``limit`` values, of some 60 bytes each."""
    return _separators(body) > limit and _separators(_STRINGS.sub(b'""', body)) > limit


def without_values(body: bytes, max_depth: int, limit: int) -> Any:
    """What a body says that holds too many values, without those nested deeper than ``max_depth``.

    Raises ValueError where that is no JSON, or does not help.
    """
    text = flattened(body.decode(errors="replace"), max_depth, TOO_MANY).encode()
    if holds_more_values(text, limit):
        raise ValueError
    return orjson.loads(text)


def _separators(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


class ValueBudget:
    """How many more values may be made of the strings of one request that hold JSON."""

    def __init__(self, values: int) -> None:
        self.left = values

    def allows(self, text: str) -> bool:
        """Whether ``text`` may be parsed; what it takes is taken."""
        values = text.count(",") + text.count("[") + text.count("{")
        if values > self.left:
            return False
        self.left -= values
        return True


def loads_repaired(body: bytes) -> Any:
    r"""What a body says that is JSON but for what strangers can make others write.

    Lone surrogates (``\ud800``, by JavaScript and Python) and bytes that are no UTF-8 become U+FFFD; ``NaN``,
    ``Infinity`` and numbers beyond a double (by Python) become null; what is nested deeper than MAX_DEPTH, a text.
    Raises ValueError for anything else that is no JSON.
    """
    text = body.decode(errors="replace")
    try:
        return _with_whole_characters(_loads(text))
    except TooDeep:
        return _with_whole_characters(_loads(flattened(text, MAX_DEPTH, TOO_DEEP)))


class TooDeep(ValueError):
    """JSON is nested deeper than can be read, or written again."""


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
    """JSON text in which what is nested deeper than ``max_depth`` is the string ``instead``.

    Raises ValueError where it has too many strings and brackets to go through.
    """
    if text.count('"') + sum(map(text.count, "[]{}")) > MAX_TOKENS:
        raise ValueError
    kept, depth, kept_to, hole_from = [], 0, 0, 0
    for found in in_turns(_STRING_OR_BRACKET.finditer(text), size=50_000):
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
