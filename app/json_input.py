"""What is done with JSON of strangers before and instead of parsing it: it is counted, and repaired. Pure."""

import json
import math
import re
from typing import Any

import orjson

# A string, or the rest of the text where it does not end. Possessive, so that it never goes back.
_STRING = r'"(?:[^"\\]++|\\.?)*+(?:"|\Z)'
_STRINGS = re.compile(_STRING.encode(), re.DOTALL)
_STRING_OR_BRACKET = re.compile(rf"{_STRING}|[\[{{]|[\]}}]", re.DOTALL)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
MAX_DEPTH = 100
TOO_DEEP = "[nested too deep]"


def holds_more_values(body: bytes, limit: int) -> bool:
    """Whether parsing ``body`` could make more than about ``limit`` values, of some 60 bytes each."""
    return _separators(body) > limit and _separators(_STRINGS.sub(b'""', body)) > limit


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
    text = _flattened(body.decode(errors="replace"))
    try:
        value = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError from None
    written = json.dumps(value, ensure_ascii=False)
    return orjson.loads(_LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", written).encode())


def _number(digits: str) -> float | int | None:
    if len(digits) < 19 and digits.lstrip("-").isdigit():
        return int(digits)
    number = float(digits)
    return number if math.isfinite(number) else None


def _flattened(text: str) -> str:
    kept, depth, kept_to, hole_from = [], 0, 0, 0
    for found in _STRING_OR_BRACKET.finditer(text):
        if found[0] in ("[", "{"):
            depth += 1
            if depth == MAX_DEPTH + 1:
                hole_from = found.start()
        elif found[0] in ("]", "}"):
            if depth == MAX_DEPTH + 1:
                kept += [text[kept_to:hole_from], json.dumps(TOO_DEEP)]
                kept_to = found.end()
            depth -= 1
    return "".join([*kept, text[kept_to:]]) if kept else text
