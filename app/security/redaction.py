"""What is kept of reported headers, parameters and bodies: nothing secret, and never more than a preview. Pure."""

import re
from typing import Any

import orjson

from app.caches import remember_short
from app.json_input import ValueBudget

REDACTED = "[redacted]"
NOT_KEPT = "[not kept]"
REPLACEMENT = rf"\g<name>{REDACTED}"
TOO_DEEP = "[nested too deep]"
MAX_DEPTH = 32
# Of text that is no JSON, as much is searched for secrets as is shown twice over, and at least so many characters.
MIN_SEARCHED = 8_192
MAX_NAME = 1_000
# Headers and parameters are kept up to this length.
MAX_DUMPED = 65_536

# A hyphen stands for any separator or none.
_WORDS = (
    "authori[sz]ation cookie token secret pass-?word pass-?wd pass-?phrase pass-?code pwd api-key access-key "
    "private-key auth-key session sess-?id credential csrf xsrf jwt signature"
)
_IN_NAMES = "|".join(_WORDS.replace("-?", "").replace("-", "").split())
_IN_TEXT = "|".join(_WORDS.replace("-?", "-").replace("-", "[-_. ]?").split(" "))
_SENSITIVE_NAME = re.compile(rf"{_IN_NAMES}|^x?auth$")
_SEPARATOR = re.compile(r"[^a-z0-9]")
# A header line: all of it is the secret.
_SENSITIVE_LINE = re.compile(
    r"""(?P<name>(?:authori[sz]ation|cookie)["']?\s{0,3}:\s{0,3})[^\r\n{}\[\]]+""", re.IGNORECASE
)
# name=value and "name": "value" within text, however it came to hold them.
_SENSITIVE_PAIR = re.compile(
    rf"""(?P<name>(?:{_IN_TEXT})[\w.-]{{0,40}}+\\*+["']?\s{{0,3}}[:=]\s{{0,3}})"""
    r"""(?:\\*"(?:[^"\\]|\\.)*"?|\\*'[^']*'?|(?:bearer|basic|bot)\s+[^\s"'&,;<>]+|[^\s"'&,;<>{}\[\]]+)""",
    re.IGNORECASE,
)
_SENSITIVE_CONTAINER = re.compile(rf"""(?:{_IN_TEXT})[\w.-]{{0,40}}\\*["']\s{{0,3}}:\s{{0,3}}[\[{{]""", re.IGNORECASE)


class OverBudget(ValueError):
    """A string holds more values than may be made of it."""


@remember_short(10_000)
def is_sensitive(name: str) -> bool:
    """Whether values under this header, parameter or JSON key must not be stored.

    No honest name is longer than MAX_NAME, and to search one takes long: its values are not stored.
    """
    return len(name) > MAX_NAME or bool(_SENSITIVE_NAME.search(_SEPARATOR.sub("", name.lower())))


def redact(value: Any, depth: int = 0) -> Any:
    """A copy of a JSON value without what stands under, or right behind, a sensitive name.

    Reporters write headers as objects, as [name, value] pairs, as flat lists and as {name, value} objects.
    """
    if depth > MAX_DEPTH:
        return TOO_DEEP
    match value:
        case str():
            return redact_text(value[:MAX_DUMPED])
        case {"value": _} if any(isinstance(name, str) and is_sensitive(name) for name in value.values()):
            rest = {key: item for key, item in value.items() if key != "value"}
            return redact(rest, depth) | {"value": REDACTED}
        case dict():
            return {key: REDACTED if is_sensitive(key) else redact(item, depth + 1) for key, item in value.items()}
        case [str(name), *rest] if is_sensitive(name):
            return [name, *(REDACTED for _ in rest)]
        case list():
            behind = [None, *value]
            return [
                REDACTED if isinstance(name, str) and is_sensitive(name) else redact(item, depth + 1)
                for name, item in zip(behind, value, strict=False)
            ]
    return value


def redact_text(text: str) -> str:
    """``text`` without the values of sensitive names that it holds, as forms, logs and quoted JSON do."""
    if ":" not in text and "=" not in text:
        return text
    return _SENSITIVE_PAIR.sub(REPLACEMENT, _SENSITIVE_LINE.sub(REPLACEMENT, text))


def dump(value: Any, budget: ValueBudget | None = None) -> str:
    """Redacted JSON text of a headers or parameters value, or of the JSON that a string holds; empty for none.

    Text that is no JSON, or too long, becomes a JSON string. Of what looks like JSON and cannot be read, nothing is
    kept: what is secret in it cannot be told.
    """
    try:
        held = _held(value, budget)
    except ValueError:
        if value.lstrip()[:1] in ("[", "{"):
            return _quoted(NOT_KEPT)
        return _quoted(truncate(_searched(value, MAX_DUMPED), MAX_DUMPED))
    if held is None:
        return ""
    text = orjson.dumps(redact(held)).decode()
    return text if len(text) <= MAX_DUMPED else _quoted(truncate(text, MAX_DUMPED))


def preview(body: Any, limit: int, budget: ValueBudget | None = None) -> str:
    """The first ``limit`` bytes of a body as text: redacted, and empty for none."""
    if body is None:
        return ""
    return truncate(_redacted_body(body, limit, budget).replace("\x00", "\N{REPLACEMENT CHARACTER}"), limit)


def _redacted_body(body: Any, limit: int, budget: ValueBudget | None) -> str:
    try:
        held = _held(body, budget)
    except OverBudget:
        return NOT_KEPT
    except ValueError:
        return _searched(body, limit)
    redacted = redact(held)
    unchanged = isinstance(body, str) and held is not None and redacted == held and _holds_no_secret(body)
    return str(body) if unchanged else "" if held is None else orjson.dumps(redacted).decode()


def _held(value: Any, budget: ValueBudget | None) -> Any:
    """The JSON value a string holds, or the value itself where it is no string.

    Raises ValueError where a string holds no JSON, OverBudget where it holds more than the budget allows.
    """
    if not isinstance(value, str):
        return value
    if budget and not budget.allows(value):
        raise OverBudget
    return orjson.loads(value)


def _holds_no_secret(text: str) -> bool:
    """Of JSON text. Of a key that stands twice, the value that is read may be another than the secret one."""
    return redact_text(text) == text and not _SENSITIVE_CONTAINER.search(text)


def _searched(text: str, limit: int) -> str:
    """Text without secrets, about as much of it as ``limit`` shows.

    Text that looks like JSON is cut where a list or object stands under a sensitive name, whose end nobody looked for.
    """
    start = text[: max(2 * limit, MIN_SEARCHED)]
    if container := _SENSITIVE_CONTAINER.search(start):
        start = start[: container.start()] + REDACTED
    return redact_text(start)


def _quoted(text: str) -> str:
    return orjson.dumps(text.encode(errors="replace").decode()).decode()


def truncate(text: str, limit: int) -> str:
    """The longest start of ``text`` of at most ``limit`` bytes of UTF-8."""
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")
