"""Evaluates the alerts that are due, as a step of upkeep."""

from collections.abc import Collection
from datetime import datetime, timedelta
from time import monotonic

from app.delivery.troubles import LONGEST_SECONDS, Troubles
from app.extensions import db
from app.repositories import evaluations
from app.repositories.failures import reason

# Alerts of one transaction.
BATCH_SIZE = 50
SET_ASIDE = timedelta(seconds=LONGEST_SECONDS)


def evaluate_due(now: datetime, troubles: Troubles, seconds: float) -> int:
    """Evaluate for about ``seconds``, and commit each batch. Returns 1 if more may be due, else 0."""
    if evaluations.is_series_behind():
        return 0
    deadline = monotonic() + seconds
    while alert_ids := evaluations.lock_due(now, BATCH_SIZE):
        _evaluate(alert_ids, now, troubles)
        if len(alert_ids) < BATCH_SIZE:
            return 0
        if monotonic() > deadline:
            return 1
    return 0


def _evaluate(alert_ids: Collection[str], now: datetime, troubles: Troubles) -> None:
    """Evaluate all at once. If that fails, evaluate one by one, and set aside the alert that fails."""
    try:
        evaluations.evaluate(alert_ids, now)
        db.session.commit()
    except Exception as error:
        db.session.rollback()
        if reason(error):
            raise
        for alert_id in alert_ids:
            _evaluate_one(alert_id, now, troubles)


def _evaluate_one(alert_id: str, now: datetime, troubles: Troubles) -> None:
    with troubles.of(alert_id, f"Alert {alert_id}"):
        evaluations.evaluate(evaluations.lock(alert_id), now)
        db.session.commit()
    if troubles.has(alert_id):
        # In the database as well, so that no dispatcher looks at it in each round.
        evaluations.postpone([alert_id], now + SET_ASIDE)
        db.session.commit()
