"""Heartbeats of the dispatchers, with what they have set aside."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, delete, func, select, update

from app.extensions import db
from app.models import DispatcherHeartbeat
from app.repositories.base import insert_ignoring_conflicts, unsynchronized
from app.repositories.clock import database_now


def heartbeat(
    dispatcher_id: str, now: datetime, forget_before: datetime, set_aside: int = 0, trouble: str | None = None
) -> None:
    """Write this dispatcher's heartbeat, and delete those older than ``forget_before``.

    ``set_aside`` is the number of webhooks and steps set aside, ``trouble`` the last reason.
    """
    unsynchronized(delete(DispatcherHeartbeat).where(DispatcherHeartbeat.seen_at < forget_before))
    db.session.execute(insert_ignoring_conflicts(DispatcherHeartbeat).values(id=dispatcher_id, seen_at=now))
    ours = update(DispatcherHeartbeat).where(DispatcherHeartbeat.id == dispatcher_id)
    unsynchronized(ours.values(seen_at=now, set_aside=set_aside, trouble=trouble))


def remove_heartbeat(dispatcher_id: str) -> None:
    unsynchronized(delete(DispatcherHeartbeat).where(DispatcherHeartbeat.id == dispatcher_id))


def seconds_since_heartbeat() -> float | None:
    """The age of the latest heartbeat, by the database's clock; None if there is none."""
    seen = db.session.scalar(select(func.max(DispatcherHeartbeat.seen_at)))
    return None if seen is None else max(0.0, (database_now() - seen).total_seconds())


def in_trouble() -> Sequence[Row[int, str | None]]:
    """``set_aside`` and ``trouble`` of each dispatcher that has set something aside."""
    query = select(DispatcherHeartbeat.set_aside, DispatcherHeartbeat.trouble)
    return db.session.execute(query.where(DispatcherHeartbeat.set_aside > 0)).all()
