"""Redacts secrets from reported headers, parameters and bodies, and truncates them. Pure."""

import re
from typing import Any

import orjson

from app.caches import remember_short
from app.json_input import TOO_DEEP, ValueBudget, is_json

REDACTED = "[redacted]"
NOT_KEPT = "[not kept]"
REPLACEMENT = rf"\g<name>{REDACTED}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
MAX_DEPTH = 32
SCALARS = frozenset({int, float, bool, type(None)})
# Of text that is not JSON, the search for secrets covers twice the length that is stored, and at least this length.
MIN_SEARCHED_LENGTH = 8_192
MAX_NAME_LENGTH = 1_000
# Headers and parameters are truncated to this length.
MAX_DUMPED_LENGTH = 65_536
# Characters of one value that are searched for secrets, or twice those that are kept: about 0.1 s.
MAX_SEARCHED_LENGTH = 262_144

# A hyphen stands for any separator or none.
_WORDS = (
    "authori[sz]ation cookie token secret pass-?word pass-?wd pass-?phrase pass-?code pwd api-key access-key "
    "private-key auth-key session sess-?id credential csrf xsrf jwt signature"
)
_IN_NAMES = "|".join(_WORDS.replace("-?", "").replace("-", "").split())
_IN_TEXT = "|".join(_WORDS.replace("-?", "-").replace("-", "[-_. ]?").split(" "))
_SENSITIVE_NAME = re.compile(rf"{_IN_NAMES}|^x?auth$")
_SEPARATOR = re.compile(r"[^a-z0-9]")
# A header line, whose whole value is secret.
_SENSITIVE_LINE = re.compile(
    r"""(?P<name>(?:authori[sz]ation|cookie)["']?\s{0,3}:\s{0,3})[^\r\n{}\[\]]+""", re.IGNORECASE
)
# name=value and "name": "value" anywhere in text.
_SENSITIVE_PAIR = re.compile(
    rf"""(?P<name>(?:{_IN_TEXT})[\w.-]{{0,40}}+\\*+["']?\s{{0,3}}[:=]\s{{0,3}})"""
    r"""(?:\\*"(?:[^"\\]|\\.)*"?|\\*'[^']*'?|(?:bearer|basic|bot)\s+[^\s"'&,;<>]+|[^\s"'&,;<>{}\[\]]+)""",
    re.IGNORECASE,
)
_SENSITIVE_CONTAINER = re.compile(rf"""(?:{_IN_TEXT})[\w.-]{{0,40}}\\*["']\s{{0,3}}:\s{{0,3}}[\[{{]""", re.IGNORECASE)


class OverBudget(ValueError):
    """A string holds more JSON values than the budget allows."""


@remember_short(10_000)
def is_sensitive(name: str) -> bool:
    """Whether the value of this header, parameter or JSON key must not be stored.

    Names over MAX_NAME_LENGTH count as sensitive, since searching them takes long.
    """
    return len(name) > MAX_NAME_LENGTH or bool(_SENSITIVE_NAME.search(_SEPARATOR.sub("", name.lower())))


class Work:
    """How many characters of one value may still be searched for secrets. The result is truncated anyway."""

    def __init__(self, kept_length: int) -> None:
        self.left = max(2 * kept_length, MAX_SEARCHED_LENGTH)


def redact(value: Any, work: Work, depth: int = 0) -> Any:
    """A copy of a JSON value with REDACTED for values of sensitive names; without the rest once ``work`` is used up.

    Reporters send headers as objects, as [name, value] pairs, as flat lists and as {name, value} objects.
    """
    if type(value) in SCALARS:
        work.left -= 1
        return value
    if depth > MAX_DEPTH:
        return TOO_DEEP
    match value:
        case str():
            searched = value[:MAX_DUMPED_LENGTH]
            work.left -= len(searched)
            return NOT_KEPT if work.left < 0 else redact_text(searched)
        case {"value": _} if any(isinstance(name, str) and is_sensitive(name) for name in value.values()):
            rest = {key: item for key, item in value.items() if key != "value"}
            return redact(rest, work, depth) | {"value": REDACTED}
        case dict():
            redacted: dict[str, Any] = {}
            for key, item in value.items():
                if work.left < 0:
                    break
                work.left -= len(key)
                redacted[key] = REDACTED if is_sensitive(key) else redact(item, work, depth + 1)
            return redacted
        case [str(name), *rest] if is_sensitive(name):
            return [name, *(REDACTED for _ in rest)]
        case list():
            return _redacted_list(value, work, depth)
    raise TypeError(f"{type(value).__name__} is no type of JSON.")


def _redacted_list(given: list[Any], work: Work, depth: int) -> list[Any]:
    redacted: list[Any] = []
    name: Any = None
    for item in given:
        if work.left < 0:
            break
        is_secret = isinstance(name, str) and is_sensitive(name)
        redacted.append(REDACTED if is_secret else redact(item, work, depth + 1))
        name = item
    return redacted


def redact_text(text: str) -> str:
    """``text`` with REDACTED for values of sensitive names, as in forms, logs and quoted JSON."""
    if ":" not in text and "=" not in text:
        return text
    return _SENSITIVE_PAIR.sub(REPLACEMENT, _SENSITIVE_LINE.sub(REPLACEMENT, text))


def dump(value: Any, budget: ValueBudget | None = None) -> str:
    """Redacted JSON text of headers or parameters, which may be given as a string of JSON; empty for null.

    Text that is not JSON, or too long, becomes a JSON string. Text that looks like JSON but is invalid becomes
    NOT_KEPT, since its secrets cannot be found.
    """
    try:
        bounded = _bounded(value, budget)
    except ValueError:
        if value.lstrip()[:1] in ("[", "{"):
            return _quoted(NOT_KEPT)
        return _quoted(truncate(_searched(value, MAX_DUMPED_LENGTH), MAX_DUMPED_LENGTH))
    if bounded is None:
        return ""
    text = orjson.dumps(redact(bounded, Work(MAX_DUMPED_LENGTH))).decode()
    return text if len(text) <= MAX_DUMPED_LENGTH else _quoted(truncate(text, MAX_DUMPED_LENGTH))


def preview(body: Any, limit: int, budget: ValueBudget | None = None) -> str:
    """The first ``limit`` bytes of a body as redacted text; empty for null. What was cut is no JSON."""
    if body is None:
        return ""
    text = _redacted_body(body, limit, budget).replace("\x00", "\N{REPLACEMENT CHARACTER}")
    kept = truncate(text, limit)
    if kept == text or not is_json(kept):
        return kept
    # The first digits of a number are another number.
    return truncate(truncate(text, max(0, limit - len(ELLIPSIS.encode()))) + ELLIPSIS, limit)


def _redacted_body(body: Any, limit: int, budget: ValueBudget | None) -> str:
    try:
        bounded = _bounded(body, budget)
    except OverBudget:
        return NOT_KEPT
    except ValueError:
        return _searched(body, limit)
    redacted = redact(bounded, Work(limit))
    unchanged = isinstance(body, str) and bounded is not None and redacted == bounded and _holds_no_secret(body)
    return str(body) if unchanged else "" if bounded is None else orjson.dumps(redacted).decode()


def _bounded(value: Any, budget: ValueBudget | None) -> Any:
    """The JSON value that a string holds; any other value unchanged. Raises ValueError for invalid JSON, OverBudget."""
    if not isinstance(value, str):
        return value
    if budget and not budget.allows(value):
        raise OverBudget
    return orjson.loads(value)


def _holds_no_secret(text: str) -> bool:
    """Whether JSON text shows no secret. Searches the text, since of a duplicate key only one value is parsed."""
    return len(text) <= MAX_SEARCHED_LENGTH and redact_text(text) == text and not _SENSITIVE_CONTAINER.search(text)


def _searched(text: str, limit: int) -> str:
    """The start of ``text``, redacted, with more than ``limit`` bytes of it searched for secrets.

    Text that looks like JSON is cut at a list or object with a sensitive name, whose end is not parsed.
    """
    start = text[: max(2 * limit, MIN_SEARCHED_LENGTH)]
    if container := _SENSITIVE_CONTAINER.search(start):
        start = start[: container.start()] + REDACTED
    return redact_text(start)


def _quoted(text: str) -> str:
    return orjson.dumps(text.encode(errors="replace").decode()).decode()


def truncate(text: str, limit: int) -> str:
    """The longest prefix of ``text`` with at most ``limit`` bytes of UTF-8."""
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")
