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

KindKey = tuple[str, str, int]


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
class Kind:
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
    def key(self) -> KindKey:
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

    def add(self, other: "Kind") -> None:
        """Count the events of ``other``, which has the same key, here, too."""
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
    """The key of a duration in ``Kind.durations``; all under a millisecond share one, as do all over LONGEST."""
    return str(round(math.log(min(max(milliseconds, 1.0), LONGEST), STEP)))


@dataclass
class Digest:
    """What one message tells: its kinds, and how many events and kinds there are besides.

    Counts of events are exact, and so is the number of kinds up to MAX_KINDS, in whatever order digests are added.
    """

    kinds: dict[KindKey, Kind] = field(default_factory=dict)
    more_events: int = 0
    more_kinds: int = 0

    @classmethod
    def of(cls, events: Iterable[Event]) -> "Digest":
        digest = cls()
        for event in events:
            digest._add_kind(_kind(event))
        return digest

    @property
    def event_count(self) -> int:
        return sum(kind.count for kind in self.kinds.values()) + self.more_events

    @property
    def kind_count(self) -> int:
        return len(self.kinds) + self.more_kinds

    @property
    def ranked(self) -> list[Kind]:
        """Most frequent first; of equally frequent ones, what came first."""
        return sorted(self.kinds.values(), key=lambda kind: (-kind.count, kind.first_at, kind.key))

    def add(self, other: "Digest") -> None:
        """Count the events of ``other`` here, too. Takes over its kinds: it is not to be used any more."""
        self.more_events += other.more_events
        self.more_kinds += other.more_kinds
        for kind in other.kinds.values():
            self._add_kind(kind)

    def _add_kind(self, kind: Kind) -> None:
        if seen := self.kinds.get(kind.key):
            seen.add(kind)
        elif len(self.kinds) < MAX_KINDS:
            self.kinds[kind.key] = kind
        else:
            self.more_events += kind.count
            self.more_kinds += 1

    def dumps(self) -> str:
        kinds: list[Any] = list(self.kinds.values())
        if len(kinds) > MAX_DETAILED:
            ranked = self.ranked
            kinds = [*ranked[:MAX_DETAILED], *(kind.in_short() for kind in ranked[MAX_DETAILED:])]
        more = {"more_events": self.more_events, "more_groups": self.more_kinds}
        return orjson.dumps({"groups": kinds, **more}).decode()


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
        kinds = [_loaded(kind) for kind in parts["groups"]]
        return Digest({kind.key: kind for kind in kinds}, parts["more_events"], parts["more_groups"])
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"This is no digest ({type(error).__name__}).") from None


def _loaded(kind: dict[str, Any]) -> Kind:
    """A kind as it was dumped; before version 1.0 without host, and with one of its paths instead of the folded."""
    if "host" in kind or "record_id" not in kind:
        return Kind(**kind)
    path, folded = kind["path"], fold_path(kind["path"])
    return Kind(**kind | {"path": folded, "exact_path": path if path != folded else ""})


def _kind(event: Event) -> Kind:
    path = fold_path(event.path)
    return Kind(
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
