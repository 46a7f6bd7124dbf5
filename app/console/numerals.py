"""Numbers that were typed, as the API's schemas want them. What is no number stays text, which they refuse. Pure."""

import re

INTEGER = re.compile(r"-?[0-9]{1,15}")
DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def integer(text: str) -> int | str:
    return int(text) if INTEGER.fullmatch(text) else text


def decimal(text: str) -> float | str:
    return float(text) if DECIMAL.fullmatch(text) else text


def plain(value: float | None) -> str:
    """The number as one types it; empty without one."""
    if value is None:
        return ""
    return f"{value:.15f}".rstrip("0").rstrip(".")
