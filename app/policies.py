"""Policies of webhooks: which events are ignored, and when those that gather reach a threshold. Pure."""

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypedDict

from app.digests import KindKey

STATUS = re.compile(r"([1-9])xx|([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?")
# Held events are given up this much later than their threshold's time, since a report may commit late.
GRACE = timedelta(seconds=5)
# Gathered rows are counted at every scan, so a threshold must be small.
MAX_THRESHOLD_EVENTS = 100


class Rule(TypedDict, total=False):
    """Ignores the events that meet all of its conditions: ``method``, ``pathname`` (a glob), ``status``."""

    method: str
    pathname: str
    status: str


class CompiledRule(TypedDict):
    """A Rule as it is stored for SQL. ``pattern`` is one of LIKE; statuses are from ``low`` to ``high``."""

    rule: Rule
    method: str | None
    pattern: str | None
    low: int
    high: int


@dataclass(frozen=True)
class Threshold:
    """No message is sent until ``events`` came within ``seconds``."""

    events: int
    seconds: int


class Held(NamedTuple):
    """Events that gather for a threshold, and when they were reported."""

    at: datetime
    events: int


class Notes(NamedTuple):
    """A message's notes on its webhook's policy.

    ``mention_role_id`` and ``threshold`` are given if the message begins an incident. No message has counted the
    ``ignored`` events since ``ignored_since``; ``ignored_in_all`` counts those of all times. No message showed
    ``new_kinds`` lately.
    """

    mention_role_id: str | None = None
    threshold: Threshold | None = None
    ignored: int = 0
    ignored_since: datetime | None = None
    ignored_in_all: int = 0
    new_kinds: Set[KindKey] = frozenset()


class Judgement(NamedTuple):
    """Whether a threshold is reached, and how many of the oldest Held to give up, since they can no longer reach it."""

    is_reached: bool
    given_up: int


def compile_rule(rule: Rule) -> CompiledRule:
    """Raises ValueError for an invalid status."""
    low, high = status_range(rule["status"]) if "status" in rule else (100, 999)
    pattern = as_like(rule["pathname"]) if "pathname" in rule else None
    return {"rule": rule, "method": rule.get("method"), "pattern": pattern, "low": low, "high": high}


def status_range(text: str) -> tuple[int, int]:
    """The first and last status of ``404``, ``4xx`` or ``400-403``. Raises ValueError."""
    found = STATUS.fullmatch(text)
    if not found:
        raise ValueError("Must be a status, such as 404, 4xx or 400-403.")
    if found[1]:
        return int(found[1]) * 100, int(found[1]) * 100 + 99
    low, high = int(found[2]), int(found[3] or found[2])
    if low > high:
        raise ValueError("The first status of a range must not be above the last.")
    return low, high


def as_like(glob: str) -> str:
    r"""``glob``, in which ``*`` stands for any text, as a pattern of SQL's LIKE with the escape character ``\``."""
    return re.sub(r"([\\%_])", r"\\\1", glob).replace("*", "%")


def is_ignored(rules: Iterable[CompiledRule], method: str, path: str, status: int) -> bool:
    return any(
        rule["low"] <= status <= rule["high"]
        and rule["method"] in (None, method)
        and ("pathname" not in rule["rule"] or matches(rule["rule"]["pathname"], path))
        for rule in rules
    )


def matches(glob: str, text: str) -> bool:
    """Whether ``glob`` matches all of ``text``. Takes at most the product of both lengths."""
    first, *others = glob.split("*")
    if not others:
        return text == first
    *middle, last = others
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    position, end = len(first), len(text) - len(last)
    for part in middle:
        position = text.find(part, position, end)
        if position < 0:
            return False
        position += len(part)
    return True


def judge(held: Sequence[Held], threshold: Threshold, now: datetime) -> Judgement:
    """Judge events in the order of their reports. Gives up none that reaches the threshold together with others."""
    seconds = timedelta(seconds=threshold.seconds)
    begin = total = 0
    for latest in held:
        total += latest.events
        while held[begin].at < latest.at - seconds:
            total -= held[begin].events
            begin += 1
        if total >= threshold.events:
            return Judgement(True, begin)
    kept_from = now - seconds - GRACE
    return Judgement(False, next((index for index, each in enumerate(held) if each.at >= kept_from), len(held)))
