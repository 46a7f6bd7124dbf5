"""Whether sources fail, the same on every page: judged by the minutes of a fixed time, whatever a page shows."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import current_app

from app.console import summaries
from app.console.summaries import MINUTE, Broken, Incident, latest_incident
from app.repositories import recent, windows
from app.repositories.windows import Window

LOOKED_AT = timedelta(hours=24)
# Whose paths are told.
MAX_REQUESTS = 2_000


@dataclass(frozen=True)
class Verdict:
    """The latest incident of the time looked at, which begins at ``since``, or None."""

    since: datetime
    incident: Incident | None


@dataclass(frozen=True)
class Counts:
    """The requests of the time looked at, and of the incident."""

    requests: int
    of_incident: int


def of_sources(source_ids: Collection[str], now: datetime) -> dict[str, Verdict]:
    """Judge sources, in one statement."""
    begin, end = _looked_at(now)
    quiet = timedelta(seconds=current_app.config["RECOVERY_AFTER_SECONDS"] or 300)
    failed = windows.failed_by_minute(source_ids, begin, end)
    since = datetime.fromtimestamp(begin * 60, UTC)
    return {
        source_id: Verdict(since, latest_incident(failed[source_id], begin, now, quiet)) for source_id in source_ids
    }


def counts(source_id: str, verdict: Verdict, now: datetime) -> Counts:
    all_of_it = Window(source_id, *_looked_at(now))
    incident = verdict.incident
    during = Window(source_id, _minute(incident.first_at), _minute(incident.last_at) + 1) if incident else all_of_it
    found = windows.totals({all_of_it, during})
    requests, of_incident = (found[each].fatal + found[each].warning + found[each].info for each in (all_of_it, during))
    # Records may go between the two statements.
    return Counts(requests, max(of_incident, incident.fatal if incident else 0))


def broken(source_id: str, incident: Incident | None) -> Broken | None:
    """What fails in the latest requests of the incident; None if their records are purged."""
    if incident is None:
        return None
    end = incident.last_at + MINUTE
    return summaries.broken(recent.list_requests(source_id, incident.first_at, end, MAX_REQUESTS))


def _looked_at(now: datetime) -> tuple[int, int]:
    return _minute(now - LOOKED_AT), _minute(now + MINUTE)


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60
