"""Prometheus counters of the API's processes. Under gunicorn, the workers of a host share them: see ``share``."""

import os
from collections import Counter as Tally
from collections.abc import Iterable
from functools import cache
from tempfile import mkdtemp

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

# prometheus_client has no _created series in multiprocess mode; disable them everywhere alike.
disable_created_metrics()  # type: ignore[no-untyped-call]

BUCKETS_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

own = CollectorRegistry()
_requests = Counter("arkyn_http_requests", "Requests answered.", ["method", "route", "status"], registry=own)
_durations = Histogram(
    "arkyn_http_request_duration_seconds",
    "Time taken to answer a request.",
    ["method", "route"],
    registry=own,
    buckets=BUCKETS_SECONDS,
)
_records = Counter("arkyn_records", "Traffic records stored.", ["level"], registry=own)

_spans = Counter("arkyn_spans", "Spans that came by OTLP.", ["outcome"], registry=own)

_folder: str | None = None
_slot = 0


def share() -> str:
    """Switch to prometheus_client's multiprocess mode, for processes forked from this one. Returns the files' folder.

    Each forked process must call ``take_slot`` before it counts.
    """
    global _folder
    _folder = os.environ["PROMETHEUS_MULTIPROC_DIR"] = mkdtemp(prefix="arkyn-metrics-")
    values.ValueClass = values.MultiProcessValue(lambda: _slot)  # type: ignore[no-untyped-call]
    return _folder


def take_slot(slot: int) -> None:
    """Continue the counts of the slot's earlier holder. Two processes must not hold one slot at the same time."""
    global _slot
    _slot = slot


def collector() -> Collector:
    """A collector of this process's counters, or of all processes that share them."""
    return MultiProcessCollector(None, _folder) if _folder else own  # type: ignore[no-untyped-call]


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count an answer. ``route`` is the URL rule, never the path, since each label value makes a permanent series."""
    requests, durations = _series(method, route, status)
    requests.inc()
    durations.observe(seconds)


@cache
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return _requests.labels(method, route, status), _durations.labels(method, route)


def count_records(levels: Iterable[str]) -> None:
    """Count committed records by level."""
    for level, number in Tally(levels).items():
        count_record(level, number)


def count_dropped(number: int) -> None:
    """Count reports that a reporter dropped before sending them."""
    _dropped().inc(number)


@cache
def _dropped() -> Counter:
    """A counter without labels writes to its file at once, so make it only when needed, once a slot is taken."""
    return Counter("arkyn_reports_dropped", "Reports that reporters dropped, as they say.", registry=own)


def count_record(level: str, number: int = 1) -> None:
    _stored(level).inc(number)


def count_spans(**outcomes: int) -> None:
    """Count spans by what became of them: ``stored``, ``repeated``, ``ignored`` or ``rejected``."""
    for outcome, number in outcomes.items():
        if number:
            _spans.labels(outcome).inc(number)


@cache
def _stored(level: str) -> Counter:
    return _records.labels(level)
