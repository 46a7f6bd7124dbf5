"""Evaluates alerts: locks those that are due, reads their series, writes new states, and puts the messages."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, func, select, update

from app import latencies
from app.alerts import Condition, Seen, is_firing, last_minute, next_evaluation, value_of
from app.digests import AlertChange, to_milliseconds
from app.extensions import db
from app.models import Alert, TrafficRecord, TrafficSource
from app.repositories import windows
from app.repositories.base import begin_writing, plan_afresh, unsynchronized
from app.repositories.outbox import put_for_level
from app.repositories.tallies import Tally, counted_to
from app.repositories.windows import Window

# While more records than these wait to be counted, alerts wait, too: each evaluation reads all of them.
MAX_UNCOUNTED = 10_000
# A later time was written by a wrong clock and counts as due.
LONGEST_WAIT = timedelta(hours=1)


class Evaluation(NamedTuple):
    """The present value of an alert; None if the window has too few records."""

    alert: Row[*tuple[Any, ...]]
    condition: Condition
    seen: Seen
    value: float | None


def is_series_behind() -> bool:
    """Whether many records wait to be counted."""
    newest = select(func.max(TrafficRecord.arrival)).scalar_subquery()
    return bool((db.session.scalar(select(newest - counted_to)) or 0) > MAX_UNCOUNTED)


def lock_due(now: datetime, most: int) -> Sequence[str]:
    """Lock up to ``most`` alerts that are due, the longest due first, without those that another dispatcher holds."""
    begin_writing()
    plan_afresh()
    at = Alert.next_evaluation_at
    # Two queries, since an index serves no OR.
    return _lock(at <= now, most) or _lock(at > now + LONGEST_WAIT, most)


def _lock(is_due: ColumnElement[bool], most: int) -> Sequence[str]:
    due = select(Alert.id).where(is_due).order_by(Alert.next_evaluation_at).limit(most)
    return db.session.scalars(due.with_for_update(key_share=True, skip_locked=True)).all()


def lock(alert_id: str) -> Sequence[str]:
    """The alert's id, if it is there and no other dispatcher holds it."""
    begin_writing()
    return _lock(Alert.id == alert_id, 1)


def evaluate(alert_ids: Collection[str], now: datetime) -> None:
    """Evaluate these alerts, which are locked, over the minutes up to now. Does not commit."""
    postpone(alert_ids, next_evaluation(now))
    for evaluation in _evaluations(_live(alert_ids), last_minute(now)):
        fires = is_firing(evaluation.condition, evaluation.alert.state == "firing", evaluation.value)
        if fires != (evaluation.alert.state == "firing"):
            _change(evaluation, fires, now)


def postpone(alert_ids: Iterable[str], until: datetime) -> None:
    """Evaluate these alerts at ``until``. Does not commit."""
    unsynchronized(update(Alert).where(Alert.id.in_(alert_ids)).values(next_evaluation_at=until))


def _live(alert_ids: Collection[str]) -> Sequence[Row[*tuple[Any, ...]]]:
    """The alerts of sources that are not deleted."""
    query = select(
        *(Alert.id, Alert.traffic_source_id, Alert.kind, Alert.threshold, Alert.minutes, Alert.min_requests),
        *(Alert.webhook_level, Alert.state, Alert.since),
    ).join(TrafficSource, TrafficSource.id == Alert.traffic_source_id)
    return db.session.execute(query.where(Alert.id.in_(alert_ids), TrafficSource.user_id.is_not(None))).all()


def _evaluations(alerts: Sequence[Row[*tuple[Any, ...]]], end: int) -> list[Evaluation]:
    """Evaluate the records before the minute ``end``; for ``silence``, later ones count, too."""
    silences = {alert.traffic_source_id for alert in alerts if alert.kind == "silence"}
    last = windows.last_minutes(silences) if silences else {}
    counted = {_window(alert, end) for alert in alerts if alert.kind != "silence"}
    totals = windows.totals(counted) if counted else {}
    found = []
    for alert in alerts:
        condition = Condition(alert.kind, alert.minutes, alert.threshold, alert.min_requests)
        seen = _seen_last(last, alert, end) if alert.kind == "silence" else _seen(totals, alert, end)
        found.append(Evaluation(alert, condition, seen, value_of(condition, seen)))
    return found


def _window(alert: Row[*tuple[Any, ...]], end: int) -> Window:
    return Window(alert.traffic_source_id, end - alert.minutes, end)


def _seen(totals: Mapping[Window, Tally], alert: Row[*tuple[Any, ...]], end: int) -> Seen:
    tally = totals[_window(alert, end)]
    requests = tally.fatal + tally.warning + tally.info
    return Seen(requests, tally.fatal, latencies.percentile(tally.latencies, 95))


def _seen_last(last: Mapping[str, int], alert: Row[*tuple[Any, ...]], end: int) -> Seen:
    minute = last.get(alert.traffic_source_id)
    return Seen() if minute is None else Seen(silent_minutes=max(0, end - 1 - minute))


def _change(evaluation: Evaluation, fires: bool, now: datetime) -> None:
    """Write the new state, and put the message about it for the source's webhook of the alert's level."""
    alert, condition = evaluation.alert, evaluation.condition
    changed = update(Alert).where(Alert.id == alert.id)
    unsynchronized(changed.values(state="firing" if fires else "ok", since=now))
    notice = AlertChange(
        kind=condition.kind,
        is_firing=fires,
        value=evaluation.value or 0.0,
        threshold=condition.threshold,
        minutes=condition.minutes,
        requests=evaluation.seen.requests,
        at=last_minute(now) * 60_000,
        fired_at=None if fires else to_milliseconds(alert.since),
    )
    put_for_level(alert.traffic_source_id, alert.webhook_level, notice, now)
