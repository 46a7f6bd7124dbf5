"""What is kept of reported headers, parameters and bodies: nothing secret, and never more than a preview. Pure."""

import re
from functools import lru_cache
from typing import Any

import orjson

REDACTED = "[redacted]"
REPLACEMENT = rf"\g<name>{REDACTED}"
TOO_DEEP = "[nested too deep]"
MAX_DEPTH = 32
# Text that is no JSON is searched for secrets only as far as this, or as its preview goes.
MAX_SEARCHED = 65_536

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
    rf"""(?P<name>(?:{_IN_TEXT})[\w.-]{{0,40}}\\*["']?\s{{0,3}}[:=]\s{{0,3}})"""
    r"""(?:\\*"(?:[^"\\]|\\.)*"?|\\*'[^']*'?|(?:bearer|basic|bot)\s+[^\s"'&,;<>]+|[^\s"'&,;<>{}\[\]]+)""",
    re.IGNORECASE,
)


@lru_cache(maxsize=10_000)
def is_sensitive(name: str) -> bool:
    """Whether values under this header, parameter or JSON key must not be stored."""
    return bool(_SENSITIVE_NAME.search(_SEPARATOR.sub("", name.lower())))


def redact(value: Any, depth: int = 0) -> Any:
    """A copy of a JSON value without what stands under, or right behind, a sensitive name.

    Reporters write headers as objects, as [name, value] pairs, as flat lists and as {name, value} objects.
    """
    if depth > MAX_DEPTH:
        return TOO_DEEP
    match value:
        case str():
            return redact_text(value)
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


def decode_held_json(value: Any) -> Any:
    """The JSON value a string holds, or the value itself where it is no string.

    Raises ValueError where a string holds no JSON.
    """
    return orjson.loads(value) if isinstance(value, str) else value


def dump(value: Any) -> str:
    """Redacted JSON text of a headers or parameters value; empty for none."""
    return "" if value is None else orjson.dumps(redact(value)).decode()


def preview(body: Any, limit: int) -> str:
    """The first ``limit`` bytes of a body as text: redacted, and empty for none."""
    if body is None:
        return ""
    return truncate(_redacted_body(body, limit).replace("\x00", "\N{REPLACEMENT CHARACTER}"), limit)


def _redacted_body(body: Any, limit: int) -> str:
    try:
        held = decode_held_json(body)
    except ValueError:
        return redact_text(body[: max(limit, MAX_SEARCHED)])
    redacted = redact(held)
    unchanged = isinstance(body, str) and held is not None and redacted == held
    return str(body) if unchanged else dump(redacted)


def truncate(text: str, limit: int) -> str:
    """The longest start of ``text`` of at most ``limit`` bytes of UTF-8."""
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")
