"""What an API process counts itself. Under gunicorn the workers of a host count together, see ``share``."""

import os
from collections import Counter as Tally
from collections.abc import Iterable
from functools import cache
from tempfile import mkdtemp

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

# Workers that share their counts have no such series, so that nobody does.
disable_created_metrics()  # type: ignore[no-untyped-call]

BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

own = CollectorRegistry()
_requests = Counter("arkyn_http_requests", "Requests answered.", ["method", "route", "status"], registry=own)
_durations = Histogram(
    "arkyn_http_request_duration_seconds",
    "Time taken to answer a request.",
    ["method", "route"],
    registry=own,
    buckets=BUCKETS,
)
_records = Counter("arkyn_records", "Traffic records stored.", ["level"], registry=own)

_spans = Counter("arkyn_spans", "Spans that came by OTLP.", ["outcome"], registry=own)

_folder: str | None = None
_slot = 0


def share() -> str:
    """Count in files from now on, for the processes forked from this one, and return their folder.

    Each of them that counts must ``take_slot`` first.
    """
    global _folder
    _folder = os.environ["PROMETHEUS_MULTIPROC_DIR"] = mkdtemp(prefix="arkyn-metrics-")
    values.ValueClass = values.MultiProcessValue(lambda: _slot)  # type: ignore[no-untyped-call]
    return _folder


def take_slot(slot: int) -> None:
    """Count on from where the earlier holder of this slot ended. No two processes may hold one at a time."""
    global _slot
    _slot = slot


def collector() -> Collector:
    """What all processes that share their counts have counted so far."""
    return MultiProcessCollector(None, _folder) if _folder else own  # type: ignore[no-untyped-call]


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count an answer. ``route`` is the rule, never the path: every value of a label is a series kept for ever."""
    requests, durations = _series(method, route, status)
    requests.inc()
    durations.observe(seconds)


@cache
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return _requests.labels(method, route, status), _durations.labels(method, route)


def count_records(levels: Iterable[str]) -> None:
    """Count records that were committed, by their levels."""
    for level, number in Tally(levels).items():
        count_record(level, number)


def count_dropped(number: int) -> None:
    """Count reports that a reporter dropped before they came here."""
    _dropped().inc(number)


@cache
def _dropped() -> Counter:
    """Made when first needed: a counter without labels writes to its file at once, and a slot must be taken before."""
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
