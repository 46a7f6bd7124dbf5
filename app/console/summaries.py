"""What a series and the latest requests come to: totals, the latest incident, and figures by path. Pure."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.digests import fold_path
from app.repositories.recent import Request
from app.repositories.series import Step


@dataclass(frozen=True)
class Totals:
    """``p95`` is that of the latest step that has requests."""

    fatal: int
    warning: int
    info: int
    p95: float | None

    @property
    def requests(self) -> int:
        return self.fatal + self.warning + self.info

    @property
    def error_rate(self) -> float:
        return self.fatal / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Incident:
    """Steps with fatal requests, without a longer pause. ``since`` is None if it began before the series.

    ``later`` counts single fatal requests after it.
    """

    since: datetime | None
    last_at: datetime
    is_over: bool
    fatal: int
    requests: int
    later: int = 0

    @property
    def share(self) -> float:
        return self.fatal / self.requests


@dataclass(frozen=True)
class PathFigures:
    """Requests of one method and folded path; ``example`` is one of their paths. Times are in milliseconds."""

    method: str
    path: str
    requests: int
    fatal: int
    p95: float
    example: str


def totals(series: Sequence[Step]) -> Totals:
    p95 = next((step.p95 for step in reversed(series) if step.p95 is not None), None)
    return Totals(
        sum(step.fatal for step in series),
        sum(step.warning for step in series),
        sum(step.info for step in series),
        p95,
    )


def latest_incident(series: Sequence[Step], now: datetime, quiet: timedelta, step: timedelta) -> Incident | None:
    """The latest incident in ``series`` of several fatal requests or, if there is none, of one.

    It is over once no fatal request came for ``quiet``.
    """
    incidents = [_incident(series, first, last, now - step - quiet) for first, last in _runs(series, quiet, step)]
    several = [incident for incident in incidents if incident.fatal > 1]
    if not incidents or not several:
        return incidents[-1] if incidents else None
    later = sum(incident.fatal for incident in incidents if incident.last_at > several[-1].last_at)
    return replace(several[-1], later=later)


def _runs(series: Sequence[Step], quiet: timedelta, step: timedelta) -> list[tuple[int, int]]:
    """The first and last steps of each run of failing ones that no pause longer than ``quiet`` parts."""
    pause = math.ceil(quiet / step)
    runs: list[tuple[int, int]] = []
    for number in (number for number, each in enumerate(series) if each.fatal):
        if runs and number - runs[-1][1] <= pause:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _incident(series: Sequence[Step], first: int, last: int, over_before: datetime) -> Incident:
    during = series[first : last + 1]
    return Incident(
        since=None if first == 0 else series[first].at,
        last_at=series[last].at,
        is_over=series[last].at <= over_before,
        fatal=sum(each.fatal for each in during),
        requests=sum(each.fatal + each.warning + each.info for each in during),
    )


def by_path(requests: Sequence[Request]) -> list[PathFigures]:
    groups: defaultdict[tuple[str, str], list[Request]] = defaultdict(list)
    for request in requests:
        groups[request.method, fold_path(request.pathname)].append(request)
    return [
        PathFigures(
            method,
            path,
            len(group),
            sum(request.level == "fatal" for request in group),
            _p95([request.elapsed_time for request in group]),
            group[0].pathname,
        )
        for (method, path), group in groups.items()
    ]


def _p95(times: list[float]) -> float:
    return sorted(times)[math.ceil(0.95 * len(times)) - 1]
