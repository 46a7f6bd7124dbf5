"""Digests: events counted by kind (method, folded path, status), merged, and serialised as JSON. Pure."""

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from app.caches import remember_short

# Kinds that one digest tells apart; of further kinds it counts events only.
MAX_KINDS = 10_100
# Fits a phone's screen.
MAX_KINDS_SHOWN = 10
# The most frequent kinds are stored with all details, the others without: this limits a digest to 3 MB.
MAX_DETAILED_KINDS = 50
# Longer paths are truncated, in UTF-8; a hash of the whole path keeps their kinds apart.
MAX_PATH_BYTES = 150
# In characters. A longer exact path is not kept, a longer host is truncated.
MAX_EXACT_LENGTH = 250
MAX_HOST_LENGTH = 100
# The histogram of durations: the ratio of one bucket to the next, and the upper bound of the last.
BUCKET_RATIO = 1.1
MAX_DURATION_MILLISECONDS = 1e12

_UUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_HEX = r"(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{16,}"
_NUMBER = r"[0-9]+"
_IDENTIFIER = re.compile(rf"(?<=/)(?:{_UUID}|{_HEX}|{_NUMBER})(?=/|\Z)")

_CUT = re.compile(r"…[0-9a-f]{16}\Z")

KindKey = tuple[str, str, int]


@remember_short(10_000)
def fold_path(path: str) -> str:
    """``path`` with ``{id}`` in place of each segment that is a number, a UUID or a long hexadecimal id."""
    return _cut(_IDENTIFIER.sub("{id}", path))


def level_of(status: int) -> str:
    """The severity level of an HTTP status."""
    if status >= 500:
        return "fatal"
    return "warning" if status >= 400 else "info"


def as_glob(folded: str) -> str:
    """A glob for the paths that are folded to ``folded``: ``*`` stands for any text."""
    return _CUT.sub("*", folded).replace("{id}", "*")


def _cut(path: str) -> str:
    whole = path.encode(errors="replace")
    if len(whole) <= MAX_PATH_BYTES:
        return path
    start = whole[: MAX_PATH_BYTES - 19].decode(errors="ignore")
    return f"{start}…{hashlib.sha256(whole).hexdigest()[:16]}"


class Event(NamedTuple):
    """A record that concerns a webhook. ``at`` is in Unix milliseconds, ``elapsed`` in milliseconds."""

    method: str
    host: str
    path: str
    status: int
    at: int
    elapsed: float
    record_id: str


@dataclass(slots=True)
class Kind:
    """The events of one kind. Times are in Unix milliseconds, durations in milliseconds.

    ``path`` is folded. ``exact_path`` is the path of all events if it differs from ``path``, ``host`` their host; each
    is empty if the events differ in it. ``durations`` counts events by powers of BUCKET_RATIO.
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
        """The median duration, to within 5 %; coarser for a rare kind in a large digest."""
        return min(BUCKET_RATIO ** int(self._median_power()), self.slowest)

    def _median_power(self) -> str:
        seen = 0
        for power in sorted(self.durations, key=int):
            seen += self.durations[power]
            if 2 * seen >= self.count:
                return power
        return power_of(self.slowest)

    def add(self, other: "Kind") -> None:
        """Add the events of ``other``, which has the same key."""
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
        """The stored form of a rare kind in a large digest: all durations at the median, and no host."""
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
    """The key of a duration in ``Kind.durations``. The first bucket holds all below 1 ms."""
    return str(round(math.log(min(max(milliseconds, 1.0), MAX_DURATION_MILLISECONDS), BUCKET_RATIO)))


@dataclass
class Digest:
    """The counted kinds of events of one message, and the numbers of further events and kinds.

    In any order of merging, the number of events is exact, and the number of kinds is exact up to MAX_KINDS.
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
    def levels(self) -> set[str]:
        """The levels of its events: several if the webhook's level was changed while events waited."""
        return {level_of(kind.status) for kind in self.kinds.values()}

    @property
    def ranked(self) -> list[Kind]:
        """The kinds, most frequent first; equally frequent ones by their first event."""
        return sorted(self.kinds.values(), key=lambda kind: (-kind.count, kind.first_at, kind.key))

    @property
    def shown(self) -> list[Kind]:
        """The kinds that a message shows."""
        return self.ranked[:MAX_KINDS_SHOWN]

    def add(self, other: "Digest") -> None:
        """Add the events of ``other``. Takes over its kinds, so ``other`` must not be used afterwards."""
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
        if len(kinds) > MAX_DETAILED_KINDS:
            ranked = self.ranked
            kinds = [*ranked[:MAX_DETAILED_KINDS], *(kind.in_short() for kind in ranked[MAX_DETAILED_KINDS:])]
        more = {"more_events": self.more_events, "more_groups": self.more_kinds}
        return orjson.dumps({"groups": kinds, **more}).decode()


@dataclass(frozen=True)
class Recovery:
    """The end of an incident, for a recovery notice. Times are in Unix milliseconds.

    ``event_count`` is that of the delivery: the notice itself delivers no event.
    """

    events: int
    began_at: int
    ended_at: int
    noticed_at: int = 0
    event_count: int = 0

    def dumps(self) -> str:
        return orjson.dumps(self).decode()


@dataclass(frozen=True)
class Reminder:
    """An incident that goes on. Times are in Unix milliseconds. ``event_count`` is that of the delivery: no event.

    ``last_at`` is the time of the last event that was told, None in reminders that were stored without it.
    """

    events: int
    began_at: int
    event_count: int = 0
    last_at: int | None = None

    def dumps(self) -> str:
        return orjson.dumps({"reminder": self}).decode()


@dataclass(frozen=True)
class AlertChange:
    """An alert that fires, or is over. Times are in Unix milliseconds. ``event_count`` is that of the delivery.

    ``value`` and ``threshold`` are per cent or milliseconds, by ``kind``: see app/alerts.py; of ``silence``, ``value``
    are minutes and ``threshold`` is None. ``fired_at`` is given when the alert is over.
    """

    kind: str
    is_firing: bool
    value: float
    threshold: float | None
    minutes: int
    requests: int
    at: int
    fired_at: int | None = None
    event_count: int = 0

    def dumps(self) -> str:
        return orjson.dumps({"alert": self}).decode()


Notice = Recovery | Reminder | AlertChange


def loads(text: str) -> Digest | Notice:
    """Parse the JSON of ``dumps``. Raises ValueError for any other text."""
    try:
        parts = orjson.loads(text)
        if "reminder" in parts:
            return Reminder(**parts["reminder"])
        if "alert" in parts:
            return AlertChange(**parts["alert"])
        if "groups" not in parts:
            return Recovery(**parts)
        kinds = [_loaded(kind) for kind in parts["groups"]]
        return Digest({kind.key: kind for kind in kinds}, parts["more_events"], parts["more_groups"])
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"This is no digest ({type(error).__name__}).") from None


def _loaded(kind: dict[str, Any]) -> Kind:
    """Parse a kind. Before version 1.0 it had no host, and one of its paths instead of the folded path."""
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
