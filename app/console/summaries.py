"""What counts and the latest requests come to: totals, the latest incident, and figures by path. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from app.digests import fold_path
from app.repositories.recent import Request
from app.repositories.series import Step

MINUTE = timedelta(minutes=1)


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
    """Minutes with fatal requests, without a longer pause.

    ``since`` is None if it may have begun before the minutes that were looked at, ``first_at`` is the first of them.
    ``later`` counts single fatal requests after it.
    """

    since: datetime | None
    first_at: datetime
    last_at: datetime
    is_over: bool
    fatal: int
    later: int = 0


@dataclass(frozen=True)
class PathFigures:
    """Requests of one method and folded path. Times are in milliseconds."""

    method: str
    path: str
    requests: int
    fatal: int
    p95: float


@dataclass(frozen=True)
class Broken:
    """The most frequent kind of failing requests, and how many further paths fail."""

    method: str
    path: str
    status: int
    more_paths: int


def totals(series: Sequence[Step]) -> Totals:
    p95 = next((step.p95 for step in reversed(series) if step.p95 is not None), None)
    return Totals(
        sum(step.fatal for step in series),
        sum(step.warning for step in series),
        sum(step.info for step in series),
        p95,
    )


def latest_incident(failed: Mapping[int, int], begin: int, now: datetime, quiet: timedelta) -> Incident | None:
    """The latest incident of several fatal requests or, if there is none, of one.

    ``failed`` counts fatal requests by minute, counted from 1970, from the minute ``begin`` on. The incident is over
    once no fatal request came for ``quiet``.
    """
    incidents = [_incident(failed, run, begin, now, quiet) for run in _runs(sorted(failed), _pause(quiet))]
    several = [incident for incident in incidents if incident.fatal > 1]
    if not incidents or not several:
        return incidents[-1] if incidents else None
    later = sum(incident.fatal for incident in incidents if incident.last_at > several[-1].last_at)
    return replace(several[-1], later=later)


def _pause(quiet: timedelta) -> int:
    return math.ceil(quiet / MINUTE)


def _runs(minutes: Sequence[int], pause: int) -> list[list[int]]:
    """Failing minutes, parted by each pause that is longer."""
    runs: list[list[int]] = []
    for minute in minutes:
        if runs and minute - runs[-1][-1] <= pause:
            runs[-1].append(minute)
        else:
            runs.append([minute])
    return runs


def _incident(failed: Mapping[int, int], run: list[int], begin: int, now: datetime, quiet: timedelta) -> Incident:
    first_at, last_at = (datetime.fromtimestamp(minute * 60, UTC) for minute in (run[0], run[-1]))
    return Incident(
        since=first_at if run[0] - begin > _pause(quiet) else None,
        first_at=first_at,
        last_at=last_at,
        is_over=last_at <= now - MINUTE - quiet,
        fatal=sum(failed[minute] for minute in run),
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
        )
        for (method, path), group in groups.items()
    ]


def broken(requests: Sequence[Request]) -> Broken | None:
    """What fails in ``requests``; of equally frequent kinds, the latest."""
    kinds = Counter(
        (request.method, fold_path(request.pathname), request.status)
        for request in requests
        if request.level == "fatal"
    )
    if not kinds:
        return None
    paths = {(method, path) for method, path, _ in kinds}
    return Broken(*kinds.most_common(1)[0][0], more_paths=len(paths) - 1)


def _p95(times: list[float]) -> float:
    return sorted(times)[math.ceil(0.95 * len(times)) - 1]
