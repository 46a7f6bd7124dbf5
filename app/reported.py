"""The forms and bounds of reported values, whether a report comes as JSON or as a span. Pure."""

import re

METHOD = re.compile(r"[A-Za-z][A-Za-z-]{0,19}")
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
# In characters.
MAX_HOST_LENGTH = 260
MAX_USER_ID_LENGTH = 255


def as_path(text: str) -> str:
    """``text`` as a path: a missing first slash is added, and control characters become U+FFFD."""
    path = _printable(text)
    return path if path.startswith("/") else f"/{path}"


def as_user_id(text: str) -> str:
    """``text`` without control characters, truncated to MAX_USER_ID_LENGTH."""
    return _printable(text)[:MAX_USER_ID_LENGTH].strip()


def _printable(text: str) -> str:
    return CONTROL_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", text)
