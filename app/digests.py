"""Counts events by kind (method, folded path, status), merges such counts, and reads and writes them as JSON. Pure."""

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from app.caches import remember_short

# Kinds told apart in one digest: what a message can show, and 10,000 more. Events of further kinds are counted only.
MAX_KINDS = 10_100
# The most frequent kinds keep all there is to know, the others little: this bounds a digest's size, at 3 MB.
MAX_DETAILED = 50
# Longer paths are cut; a hash of the whole keeps their kinds apart. Bytes of UTF-8.
MAX_PATH_BYTES = 150
MAX_EXACT_LENGTH = 250
MAX_HOST_LENGTH = 100
# Ratio of one histogram bucket to the next, and the longest duration (in milliseconds) told apart.
STEP = 1.1
LONGEST = 1e12

_UUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_HEX = r"(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{16,}"
_NUMBER = r"[0-9]+"
_IDENTIFIER = re.compile(rf"(?<=/)(?:{_UUID}|{_HEX}|{_NUMBER})(?=/|\Z)")

Kind = tuple[str, str, int]


@remember_short(10_000)
def fold_path(path: str) -> str:
    """The path with each segment that is a number, a UUID or a long hexadecimal id replaced by ``{id}``."""
    return _cut(_IDENTIFIER.sub("{id}", path))


def _cut(path: str) -> str:
    whole = path.encode(errors="replace")
    if len(whole) <= MAX_PATH_BYTES:
        return path
    start = whole[: MAX_PATH_BYTES - 19].decode(errors="ignore")
    return f"{start}…{hashlib.sha256(whole).hexdigest()[:16]}"


class Event(NamedTuple):
    """One reported request, as messages tell of it. ``at`` is Unix milliseconds, ``elapsed`` milliseconds."""

    method: str
    host: str
    path: str
    status: int
    at: int
    elapsed: float
    record_id: str


@dataclass(slots=True)
class Group:
    """The events of one kind. Times are Unix milliseconds, durations milliseconds.

    ``path`` is folded; ``exact_path`` is the one path of all events where that is another, and ``host`` their one host:
    each is empty where there were several. ``durations`` counts events by powers of STEP.
    """

    method: str
    path: str
    status: int
    first_at: int
    last_at: int
    slowest: float
    durations: dict[str, int]
    record_id: str = ""
    count: int = 1
    host: str = ""
    exact_path: str = ""

    @property
    def kind(self) -> Kind:
        return self.method, self.path, self.status

    @property
    def typical(self) -> float:
        """The median elapsed time, to within 5 %; of a rare kind in a large digest, coarser."""
        return min(STEP ** int(self._median_power()), self.slowest)

    def _median_power(self) -> str:
        seen = 0
        for power in sorted(self.durations, key=int):
            seen += self.durations[power]
            if 2 * seen >= self.count:
                return power
        return power_of(self.slowest)

    def add(self, other: "Group") -> None:
        """Count the events of another group of this kind here, too."""
        if other.last_at >= self.last_at:
            self.last_at, self.record_id = other.last_at, other.record_id
        self.first_at = min(self.first_at, other.first_at)
        self.slowest = max(self.slowest, other.slowest)
        self.count += other.count
        self.host = self.host if self.host == other.host else ""
        self.exact_path = self.exact_path if self.exact_path == other.exact_path else ""
        for power, count in other.durations.items():
            self.durations[power] = self.durations.get(power, 0) + count

    def in_short(self) -> dict[str, Any]:
        """What is kept of a kind that is rare in a large digest: a median for its durations, and no host."""
        return {
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "slowest": self.slowest,
            "durations": {self._median_power(): self.count},
            "count": self.count,
        }


def power_of(milliseconds: float) -> str:
    """The key of a duration in ``Group.durations``; all under a millisecond share one, as do all over LONGEST."""
    return str(round(math.log(min(max(milliseconds, 1.0), LONGEST), STEP)))


@dataclass
class Digest:
    """What one message tells: groups by kind, and how many events and kinds are in no group.

    Counts of events are exact, and so is the number of kinds up to MAX_KINDS, in whatever order digests are added.
    """

    groups: dict[Kind, Group] = field(default_factory=dict)
    more_events: int = 0
    more_groups: int = 0

    @classmethod
    def of(cls, events: Iterable[Event]) -> "Digest":
        digest = cls()
        for event in events:
            digest._add_group(_group(event))
        return digest

    @property
    def event_count(self) -> int:
        return sum(group.count for group in self.groups.values()) + self.more_events

    @property
    def group_count(self) -> int:
        return len(self.groups) + self.more_groups

    @property
    def ranked(self) -> list[Group]:
        """Most frequent first; of equally frequent ones, what came first."""
        return sorted(self.groups.values(), key=lambda group: (-group.count, group.first_at, group.kind))

    def add(self, other: "Digest") -> None:
        """Count the events of ``other`` here, too. Takes over its groups: it is not to be used any more."""
        self.more_events += other.more_events
        self.more_groups += other.more_groups
        for group in other.groups.values():
            self._add_group(group)

    def _add_group(self, group: Group) -> None:
        if seen := self.groups.get(group.kind):
            seen.add(group)
        elif len(self.groups) < MAX_KINDS:
            self.groups[group.kind] = group
        else:
            self.more_events += group.count
            self.more_groups += 1

    def dumps(self) -> str:
        groups: list[Any] = list(self.groups.values())
        if len(groups) > MAX_DETAILED:
            ranked = self.ranked
            groups = [*ranked[:MAX_DETAILED], *(group.in_short() for group in ranked[MAX_DETAILED:])]
        more = {"more_events": self.more_events, "more_groups": self.more_groups}
        return orjson.dumps({"groups": groups, **more}).decode()


@dataclass(frozen=True)
class Recovery:
    """The end of an incident: how many events it had, when it began and ended, and when that was noticed.

    Unix milliseconds.
    """

    events: int
    began_at: int
    ended_at: int
    noticed_at: int = 0
    event_count: int = 0

    def dumps(self) -> str:
        return orjson.dumps(self).decode()


def loads(text: str) -> Digest | Recovery:
    """What ``dumps`` wrote. Raises ValueError for anything else."""
    try:
        parts = orjson.loads(text)
        if "groups" not in parts:
            return Recovery(**parts)
        groups = [_loaded(group) for group in parts.pop("groups")]
        return Digest({group.kind: group for group in groups}, **parts)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"This is no digest ({type(error).__name__}).") from None


def _loaded(group: dict[str, Any]) -> Group:
    """A group as it was dumped; before version 1.0 without host, and with one of its paths instead of the folded."""
    if "host" in group or "record_id" not in group:
        return Group(**group)
    path, folded = group["path"], fold_path(group["path"])
    return Group(**group | {"path": folded, "exact_path": path if path != folded else ""})


def _group(event: Event) -> Group:
    path = fold_path(event.path)
    return Group(
        event.method,
        path,
        event.status,
        event.at,
        event.at,
        event.elapsed,
        {power_of(event.elapsed): 1},
        event.record_id,
        1,
        event.host[:MAX_HOST_LENGTH],
        event.path if event.path != path and len(event.path) <= MAX_EXACT_LENGTH else "",
    )


def to_milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def to_datetime(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
