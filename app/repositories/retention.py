"""What is forgotten with time, in bites small enough to disturb nobody."""

from collections import Counter
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, select, update

from app.extensions import db
from app.models import Delivery, TrafficRecord, Webhook
from app.models.columns import first_id_at
from app.repositories import outcomes
from app.repositories.base import unsynchronized

BITE = 1_000


def purge_records(before: datetime) -> int:
    """Delete a bite of traffic records older than ``before``. Returns how many."""
    return _delete_bite(TrafficRecord, TrafficRecord.id < first_id_at(before))


def purge_deliveries(before: datetime) -> int:
    """Delete a bite of the delivered and discarded that are older than ``before``. Returns how many."""
    return _delete_bite(Delivery, *_settled(before))


def discard_waiting(before: datetime, reason: str) -> int:
    """Give up a bite of what has waited for a suspended webhook since ``before``. Returns how many."""
    waiting = (
        select(Delivery.id)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(Delivery.state == "pending", Delivery.id < first_id_at(before), Webhook.state == "suspended")
        .limit(BITE)
    )
    given_up = update(Delivery).where(Delivery.id.in_(waiting), Delivery.state == "pending")
    given_up = given_up.values(state="discarded", last_error=reason, next_attempt_at=None)
    events = db.session.scalars(
        given_up.returning(Delivery.event_count), execution_options={"synchronize_session": False}
    ).all()
    outcomes.add(Counter({outcomes.Key("events", "discarded"): sum(events)} if events else {}))
    return len(events)


def count_purgeable(records_before: datetime, deliveries_before: datetime) -> int:
    records = select(func.count()).where(TrafficRecord.id < first_id_at(records_before))
    settled = select(func.count()).where(*_settled(deliveries_before))
    return (db.session.scalar(records) or 0) + (db.session.scalar(settled) or 0)


def _settled(before: datetime) -> tuple[ColumnElement[bool], ...]:
    return Delivery.id < first_id_at(before), Delivery.state.in_(("delivered", "discarded"))


def _delete_bite(model: type[TrafficRecord] | type[Delivery], *conditions: ColumnElement[bool]) -> int:
    oldest = select(model.id).where(*conditions).order_by(model.id).limit(BITE)
    return unsynchronized(delete(model).where(model.id.in_(oldest)))
