"""What the service's answer to a batch means."""

from __future__ import annotations

import enum
import json
import time
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from arkyn_reporter.sender import Answer

MAX_RETRY_AFTER_SECONDS = 600.0


class Kind(enum.Enum):
    DELIVERED = enum.auto()
    RETRY = enum.auto()
    TOO_LARGE = enum.auto()
    # Nothing in this batch is usable; the next one may be.
    UNUSABLE = enum.auto()
    # The token, the address or the source is wrong: the next batch will be refused, too.
    REFUSED = enum.auto()


class Outcome(NamedTuple):
    kind: Kind
    reason: str
    retry_after: float | None = None
    # One of the reasons for which single records were rejected, and how many were.
    rejected: int = 0
    example: str = ""


def outcome_of(answer: Answer) -> Outcome:
    status = answer.status
    reason = f"it answered {status}"
    if status in (200, 201):
        return _accepted(answer)
    if status in (408, 425, 429) or status >= 500:
        return Outcome(Kind.RETRY, reason, parse_retry_after(answer.retry_after))
    if status == 413:
        return Outcome(Kind.TOO_LARGE, reason)
    if status in (400, 422):
        return Outcome(Kind.UNUSABLE, f"{reason}: {_message(answer.body)}")
    return Outcome(Kind.REFUSED, f"{reason}{_advice(status)}")


def _accepted(answer: Answer) -> Outcome:
    if not answer.body:
        return Outcome(Kind.RETRY, "its answer was empty")
    result = _object(answer.body)
    if not isinstance(result.get("accepted"), int):
        return Outcome(Kind.REFUSED, "what answered is not the service: check the host in the DSN")
    rejected = result.get("rejected")
    if not isinstance(rejected, list) or not rejected:
        return Outcome(Kind.DELIVERED, "")
    first = rejected[0]
    example = json.dumps(first.get("errors") if isinstance(first, dict) else None)[:500]
    return Outcome(Kind.DELIVERED, "", None, len(rejected), example)


def _message(body: bytes) -> str:
    answer = _object(body)
    return str(answer.get("message") or "without a reason")[:500]


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _advice(status: int) -> str:
    if status == 401:
        return ": the token in the DSN is not valid (any more)"
    if status in (403, 404):
        return ": check token and traffic source in the DSN"
    if 300 <= status < 400:
        return ", a redirect, which is not followed: put the final address into the DSN"
    return ""


def parse_retry_after(value: str | None) -> float | None:
    """Seconds, of either form of the header; None where there is none, or no usable one."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _until(value)
    return min(seconds, MAX_RETRY_AFTER_SECONDS) if seconds >= 0 else None


def _until(date: str) -> float:
    try:
        return max(parsedate_to_datetime(date).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, IndexError, OverflowError):
        return -1.0
