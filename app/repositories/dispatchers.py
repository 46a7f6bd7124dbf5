"""Which dispatchers are at work."""

from datetime import datetime

from sqlalchemy import delete, func, select, update

from app.extensions import db
from app.models import DispatcherHeartbeat
from app.repositories.base import insert_ignoring_conflicts, unsynchronized


def heartbeat(dispatcher_id: str, now: datetime, forget_before: datetime) -> None:
    """Say that this dispatcher is at work; forget those not seen for long."""
    unsynchronized(delete(DispatcherHeartbeat).where(DispatcherHeartbeat.seen_at < forget_before))
    db.session.execute(insert_ignoring_conflicts(DispatcherHeartbeat).values(id=dispatcher_id, seen_at=now))
    unsynchronized(update(DispatcherHeartbeat).where(DispatcherHeartbeat.id == dispatcher_id).values(seen_at=now))


def remove_heartbeat(dispatcher_id: str) -> None:
    unsynchronized(delete(DispatcherHeartbeat).where(DispatcherHeartbeat.id == dispatcher_id))


def last_heartbeat() -> datetime | None:
    return db.session.scalar(select(func.max(DispatcherHeartbeat.seen_at)))
