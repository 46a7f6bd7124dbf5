"""Alerts: when a value of a source's series fires one, and when it is over. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

KINDS = ("errorRate", "p95", "silence")
MAX_MINUTES = 1_440
# A minute is evaluated this long after its end, since reporters gather reports, and transactions may commit late.
LATENESS = timedelta(seconds=15)
# A firing alert is over below this part of its threshold, so that a value at the threshold does not flap.
OVER_BELOW = 0.8


@dataclass(frozen=True)
class Condition:
    """When an alert fires. ``threshold`` is in per cent for ``errorRate``, in milliseconds for ``p95``.

    ``silence`` has neither ``threshold`` nor ``min_requests``.
    """

    kind: str
    minutes: int
    threshold: float | None = None
    min_requests: int | None = None


class Seen(NamedTuple):
    """The records of a window. ``silent_minutes`` are whole ones since the last record; None if there never was one."""

    requests: int = 0
    fatal: int = 0
    p95: float | None = None
    silent_minutes: int | None = None


def last_minute(now: datetime) -> int:
    """The minute, counted from 1970, before which all minutes are over."""
    return int((now - LATENESS).timestamp()) // 60


def next_evaluation(now: datetime) -> datetime:
    """When the next minute is over."""
    return datetime.fromtimestamp((last_minute(now) + 1) * 60, now.tzinfo) + LATENESS


def value_of(condition: Condition, seen: Seen) -> float | None:
    """Per cent, milliseconds, or minutes without a record; None if there are fewer than ``min_requests``, or none."""
    if condition.kind == "silence":
        return seen.silent_minutes
    if seen.requests < max(1, condition.min_requests or 0):
        return None
    return seen.p95 if condition.kind == "p95" else 100 * seen.fatal / seen.requests


def is_firing(condition: Condition, was_firing: bool, value: float | None) -> bool:
    """Whether the alert fires from now on. Without a value it stays as it was."""
    if value is None:
        return was_firing
    if condition.kind == "silence":
        return value >= condition.minutes
    threshold = condition.threshold or 0.0
    return value >= (threshold * OVER_BELOW if was_firing else threshold)
