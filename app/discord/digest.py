"""What happened, counted: events of one kind (method, path, status) form a group. Pure."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, Self

import orjson

# A merged digest keeps this many groups in detail and sums up the rest.
MAX_GROUPS = 50
# While merging it tells so many kinds apart; what comes beyond is counted only.
MAX_KINDS = 10_000
STEP = 1.1
LONGEST = 1e12

_UUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_HEX = r"(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{16,}"
_NUMBER = r"[0-9]+"
_IDENTIFIER = re.compile(rf"(?<=/)(?:{_UUID}|{_HEX}|{_NUMBER})(?=/|\Z)")


@lru_cache(maxsize=10_000)
def fold_path(path: str) -> str:
    """The path with each segment that is a number, a UUID or a long hexadecimal id replaced by ``{id}``."""
    return _IDENTIFIER.sub("{id}", path)


@dataclass(frozen=True)
class Group:
    """Events of one kind. Times are Unix milliseconds, durations milliseconds."""

    method: str
    path: str
    status: int
    first_at: int
    last_at: int
    slowest: float
    # How many events took about so long: keys are powers of STEP.
    durations: dict[str, int]
    record_id: str
    count: int = 1

    @property
    def kind(self) -> tuple[str, str, int]:
        return self.method, fold_path(self.path), self.status

    @property
    def typical(self) -> float:
        """The median elapsed time, to within 5 %."""
        seen = 0
        for power in sorted(map(int, self.durations)):
            seen += self.durations[str(power)]
            if 2 * seen >= self.count:
                return min(STEP**power, self.slowest)
        return self.slowest

    def __add__(self, other: Self) -> Self:
        latest = max(self, other, key=lambda group: group.last_at)
        return replace(
            self,
            path=self.path if self.path == other.path else fold_path(self.path),
            first_at=min(self.first_at, other.first_at),
            last_at=latest.last_at,
            slowest=max(self.slowest, other.slowest),
            durations=dict(Counter(self.durations) + Counter(other.durations)),
            record_id=latest.record_id,
            count=self.count + other.count,
        )


def power_of(milliseconds: float) -> str:
    """The key of a duration in ``Group.durations``; all under a millisecond share one, as do all over LONGEST."""
    return str(round(math.log(min(max(milliseconds, 1.0), LONGEST), STEP)))


@dataclass(frozen=True)
class Digest:
    """What one message tells: its groups, most frequent first, and how many events stand in no group."""

    groups: tuple[Group, ...]
    more_events: int = 0
    more_groups: int = 0

    @property
    def event_count(self) -> int:
        return sum(group.count for group in self.groups) + self.more_events

    def dumps(self) -> str:
        return orjson.dumps(self).decode()


@dataclass(frozen=True)
class Recovery:
    """The end of an incident: how many events it had and how long it lasted. Unix milliseconds."""

    events: int
    began_at: int
    ended_at: int
    event_count: int = 0

    def dumps(self) -> str:
        return orjson.dumps(self).decode()


def loads(text: str) -> Digest | Recovery:
    """What ``dumps`` wrote."""
    parts = orjson.loads(text)
    if "groups" not in parts:
        return Recovery(**parts)
    return Digest(tuple(Group(**group) for group in parts.pop("groups")), **parts)


class Event(NamedTuple):
    """What is told of one reported request. ``elapsed`` is in milliseconds."""

    method: str
    path: str
    status: int
    elapsed: float
    record_id: str


def of_one(event: Event, at: int) -> Digest:
    """An event that was reported at ``at``, in Unix milliseconds."""
    elapsed = event.elapsed
    durations = {power_of(elapsed): 1}
    return Digest((Group(event.method, event.path, event.status, at, at, elapsed, durations, event.record_id),))


def summarise(events: Iterable[Event], at: int) -> Digest:
    """Events that were all reported at once, at ``at``, in Unix milliseconds."""
    kinds: dict[tuple[str, str, int], list[Event]] = {}
    for event in events:
        kinds.setdefault((event.method, fold_path(event.path), event.status), []).append(event)
    groups = tuple([_group(kind[1], alike, at) for kind, alike in kinds.items()])
    return merge([Digest(groups)]) if len(groups) > 1 else Digest(groups)


def _group(folded_path: str, events: list[Event], at: int) -> Group:
    latest = events[-1]
    durations: dict[str, int] = {}
    for event in events:
        power = power_of(event.elapsed)
        durations[power] = durations.get(power, 0) + 1
    return Group(
        method=latest.method,
        path=latest.path if len({event.path for event in events}) == 1 else folded_path,
        status=latest.status,
        first_at=at,
        last_at=at,
        slowest=max(event.elapsed for event in events),
        durations=durations,
        record_id=latest.record_id,
        count=len(events),
    )


def merge(digests: Iterable[Digest]) -> Digest:
    """All events of ``digests`` in one; counts stay exact whatever is left out in detail."""
    groups: dict[tuple[str, str, int], Group] = {}
    more_events = more_groups = 0
    for digest in digests:
        more_events += digest.more_events
        more_groups += digest.more_groups
        for group in digest.groups:
            seen = groups.get(group.kind)
            if seen or len(groups) < MAX_KINDS:
                groups[group.kind] = seen + group if seen else group
            else:
                more_events, more_groups = more_events + group.count, more_groups + 1
    ranked = sorted(groups.values(), key=lambda group: (-group.count, group.first_at))
    rest = ranked[MAX_GROUPS:]
    return Digest(
        groups=tuple(ranked[:MAX_GROUPS]),
        more_events=more_events + sum(group.count for group in rest),
        more_groups=more_groups + len(rest),
    )


def to_milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def to_datetime(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
