"""Whether sources fail, the same on every page: judged by the minutes of a fixed time, whatever a page shows.

Where the policy of the fatal webhook may leave events out, its events are judged, so that pages and Discord agree; of
all other sources the records, which tell more: since when, to the minute, and also without a webhook.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from flask import current_app

from app.console import summaries
from app.console.summaries import MINUTE, Broken, Incident, latest_incident
from app.models import Webhook
from app.models.columns import minute_at
from app.policies import is_ignored
from app.repositories import event_minutes, recent, windows
from app.repositories.event_minutes import EventMinutes
from app.repositories.windows import Window

LOOKED_AT = timedelta(hours=24)
# Whose paths are told.
MAX_REQUESTS = 2_000


@dataclass(frozen=True)
class Verdict:
    """The latest incident of the time looked at, which begins at ``since``, or None.

    ``webhook`` and its ``events`` are given where these are judged, not the records.
    """

    since: datetime
    incident: Incident | None
    webhook: Webhook | None = None
    events: EventMinutes | None = None


@dataclass(frozen=True)
class Counts:
    """The requests of the time looked at, and of the incident; ``left_out`` failed, but are no events."""

    requests: int
    of_incident: int
    left_out: int


def of_sources(source_ids: Collection[str], now: datetime) -> dict[str, Verdict]:
    """Judge sources, in three statements."""
    begin, end = _looked_at(now)
    quiet = timedelta(seconds=current_app.config["RECOVERY_AFTER_SECONDS"] or 300)
    judged = event_minutes.leaving_out(source_ids)
    events = event_minutes.events_of(judged.values(), begin, end)
    failed = windows.failed_by_minute([each for each in source_ids if each not in judged], begin, end)
    by_records = {
        source_id: Verdict(_moment(begin), latest_incident(failed[source_id], begin, now, quiet))
        for source_id in failed
    }
    by_events = {
        source_id: _by_events(webhook, events[webhook.id], now, quiet) for source_id, webhook in judged.items()
    }
    return by_records | by_events


def _by_events(webhook: Webhook, events: EventMinutes, now: datetime, quiet: timedelta) -> Verdict:
    incident = latest_incident(events.by_minute, events.begin, now, quiet)
    if incident and events.is_over:
        incident = replace(incident, is_over=True)
    return Verdict(_moment(events.begin), incident, webhook, events)


def counts(source_id: str, verdict: Verdict, now: datetime) -> Counts:
    all_of_it = Window(source_id, *_looked_at(now))
    incident = verdict.incident
    during = Window(source_id, minute_at(incident.first_at), minute_at(incident.last_at) + 1) if incident else all_of_it
    found = windows.totals({all_of_it, during})
    requests, of_incident = (found[each].fatal + found[each].warning + found[each].info for each in (all_of_it, during))
    events = verdict.events
    left_out = max(0, found[all_of_it].fatal - events.events) if events and not events.is_cut else 0
    # Records may go between the two statements.
    return Counts(requests, max(of_incident, incident.fatal if incident else 0), left_out)


def broken(source_id: str, verdict: Verdict) -> Broken | None:
    """What fails in the latest requests of the incident; None if their records are purged."""
    incident = verdict.incident
    if incident is None:
        return None
    end = incident.last_at + MINUTE
    requests = recent.list_requests(source_id, incident.first_at, end, MAX_REQUESTS)
    rules = (verdict.webhook and verdict.webhook.ignore_rules) or []
    return summaries.broken(
        [each for each in requests if not is_ignored(rules, each.method, each.pathname, each.status)]
    )


def _moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _looked_at(now: datetime) -> tuple[int, int]:
    return minute_at(now - LOOKED_AT), minute_at(now + MINUTE)
