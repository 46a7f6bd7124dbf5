"""What a series and the latest requests come to: totals, the latest incident, and figures by path. Pure."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.digests import fold_path
from app.repositories.recent import Request, Step


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
    """Steps with fatal requests, without a longer pause. ``since`` is None if it began before the series."""

    since: datetime | None
    last_at: datetime
    is_over: bool
    fatal: int
    requests: int

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
    """The latest incident in ``series``. It is over once no fatal request came for ``quiet``."""
    failing = [number for number, each in enumerate(series) if each.fatal]
    if not failing:
        return None
    last = first = failing[-1]
    pause = math.ceil(quiet / step)
    for number in reversed(failing):
        if first - number > pause:
            break
        first = number
    during = series[first : last + 1]
    return Incident(
        since=None if first == 0 else series[first].at,
        last_at=series[last].at,
        is_over=now - (series[last].at + step) >= quiet,
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
