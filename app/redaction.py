"""What is kept of reported headers, parameters and bodies: nothing secret, and never more than a preview. Pure."""

import re
from typing import Any

import orjson

REDACTED = "[redacted]"
TOO_DEEP = "[nested too deep]"
MAX_DEPTH = 32

_SENSITIVE = re.compile(
    r"authori[sz]ation|^x?auth$|cookie|token|secret|passw|pwd|apikey|accesskey|privatekey|session|credential"
    r"|csrf|xsrf|jwt|signature"
)
_NOT_A_LETTER = re.compile(r"[^a-z0-9]")


def is_sensitive(name: str) -> bool:
    """Whether values under this header, parameter or JSON key must not be stored."""
    return bool(_SENSITIVE.search(_NOT_A_LETTER.sub("", name.lower())))


def redact(value: Any, depth: int = 0) -> Any:
    """A copy of a JSON value without the values of sensitive names, whether as keys or as [name, value] pairs."""
    if depth > MAX_DEPTH:
        return TOO_DEEP
    if isinstance(value, dict):
        return {key: REDACTED if is_sensitive(key) else redact(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str) and is_sensitive(value[0]):
            return [value[0], REDACTED]
        return [redact(item, depth + 1) for item in value]
    return value


def decode_held_json(value: Any) -> Any:
    """The JSON value a string holds, or the value itself where it is no string.

    Raises ValueError where a string holds no JSON.
    """
    return orjson.loads(value) if isinstance(value, str) else value


def dump(value: Any) -> str:
    """Redacted JSON text of a headers or parameters value; empty for none."""
    return "" if value is None else orjson.dumps(redact(value)).decode()


def preview(body: Any, limit: int) -> str:
    """The first ``limit`` bytes of a body as text: JSON redacted, other text as it is, empty for none."""
    try:
        held = decode_held_json(body)
    except ValueError:
        text = body
    else:
        redacted = redact(held)
        unchanged = isinstance(body, str) and redacted == held
        text = body if unchanged and held is not None else dump(redacted)
    return truncate(text.replace("\x00", "\N{REPLACEMENT CHARACTER}"), limit)


def truncate(text: str, limit: int) -> str:
    """The longest start of ``text`` of at most ``limit`` bytes of UTF-8."""
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")
