"""Queries and changes of alerts."""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sql
from sqlalchemy import func, select

from app.errors import AlertNotFound, TooManyAlerts, TrafficSourceNotFound
from app.extensions import db
from app.models import Alert, TrafficSource
from app.models.columns import utcnow
from app.repositories.base import begin_writing, unsynchronized

MAX_ALERTS_PER_SOURCE = 20


def list_of(source_id: str) -> Sequence[Alert]:
    """The source's alerts, oldest first."""
    return db.session.scalars(select(Alert).where(Alert.traffic_source_id == source_id).order_by(Alert.id)).all()


def firing_of(source_ids: Collection[str]) -> Sequence[Alert]:
    """The alerts of these sources that fire, those that began first before others."""
    query = select(Alert).where(Alert.traffic_source_id.in_(source_ids), Alert.state == "firing")
    return db.session.scalars(query.order_by(Alert.since, Alert.id)).all()


def get(alert_id: str) -> Alert:
    """Raises AlertNotFound."""
    alert = db.session.get(Alert, alert_id)
    if alert is None:
        raise AlertNotFound
    return alert


def add(alert: Alert) -> Alert:
    """Add an alert, if its source has fewer than MAX_ALERTS_PER_SOURCE, also under concurrency.

    Raises TrafficSourceNotFound, TooManyAlerts.
    """
    source = select(TrafficSource.id).where(
        TrafficSource.id == alert.traffic_source_id, TrafficSource.user_id.is_not(None)
    )
    begin_writing()
    if db.session.scalar(source.with_for_update(key_share=True)) is None:
        raise TrafficSourceNotFound
    of_source = select(func.count()).where(Alert.traffic_source_id == alert.traffic_source_id)
    if (db.session.scalar(of_source) or 0) >= MAX_ALERTS_PER_SOURCE:
        raise TooManyAlerts(MAX_ALERTS_PER_SOURCE)
    db.session.add(alert)
    db.session.flush()
    return alert


def replace(alert_id: str, values: dict[str, Any]) -> Alert:
    """Replace the condition, to be evaluated soon. Another kind begins with the state ``ok``. Raises AlertNotFound."""
    begin_writing()
    now = utcnow()
    alert = db.session.scalar(select(Alert).where(Alert.id == alert_id).with_for_update(key_share=True))
    if alert is None:
        raise AlertNotFound
    if alert.kind != values["kind"] and alert.state != "ok":
        alert.state, alert.since = "ok", now
    for name, value in {**values, "next_evaluation_at": now}.items():
        setattr(alert, name, value)
    db.session.flush()
    return alert


def delete(alert_id: str) -> None:
    """Raises AlertNotFound."""
    if not unsynchronized(sql.delete(Alert).where(Alert.id == alert_id)):
        raise AlertNotFound
