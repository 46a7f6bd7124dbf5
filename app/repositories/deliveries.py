"""Messages owed and sent, as their owners see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text, update

from app.errors import DeliveryInProgress, DeliveryNotFound, NotYours
from app.extensions import db
from app.models import Delivery, DeliveryAttempt, TrafficSource, Webhook
from app.repositories.base import Page, paginate, unsynchronized
from app.repositories.outbox import new_nonce

OPEN = ("pending", "delivering")


def get_owned(delivery_id: str, user_id: str) -> Delivery:
    """Raises DeliveryNotFound, and NotYours where its traffic source belongs to another user."""
    query = select(Delivery, TrafficSource.user_id).join(Webhook, Webhook.id == Delivery.webhook_id)
    row = db.session.execute(query.join(TrafficSource).where(Delivery.id == delivery_id)).one_or_none()
    if row is None:
        raise DeliveryNotFound
    if row.user_id != user_id:
        raise NotYours
    delivery: Delivery = row.Delivery
    return delivery


def list_of(webhook_id: str, page: int, page_limit: int, state: str | None = None) -> Page:
    """Newest first."""
    query = select(Delivery).where(Delivery.webhook_id == webhook_id)
    if state:
        query = query.where(Delivery.state == state)
    return paginate(query, page, page_limit, Delivery.id.desc())


def list_attempts(delivery_id: str) -> Sequence[DeliveryAttempt]:
    """Oldest first, at most the last 100."""
    tries = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id)
    return db.session.scalars(tries.order_by(DeliveryAttempt.id.desc()).limit(100)).all()[::-1]


def redeliver(delivery: Delivery, now: datetime) -> None:
    """Make it pending again, due now, under a new nonce where it was settled: Discord would know the old one.

    Raises DeliveryInProgress where it is being sent, and DeliveryNotFound where it is gone.
    """
    webhook_state = db.session.scalar(select(Webhook.state).where(Webhook.id == delivery.webhook_id))
    values: dict[str, Any] = {"next_attempt_at": None if webhook_state == "suspended" else now, "attempts": 0}
    if delivery.state != "pending":
        values |= {"state": "pending", "nonce": new_nonce(), "delivered_at": None, "message_id": None}
    again = update(Delivery).where(Delivery.id == delivery.id, Delivery.state != "delivering").values(values)
    if not unsynchronized(again):
        exists = db.session.scalar(select(Delivery.id).where(Delivery.id == delivery.id))
        raise DeliveryInProgress if exists else DeliveryNotFound
    db.session.refresh(delivery)


def count_pending_events(webhook_id: str) -> int:
    pending = select(func.coalesce(func.sum(Delivery.event_count), 0))
    pending = pending.where(Delivery.webhook_id == webhook_id, Delivery.state.in_(("pending", "delivering")))
    return db.session.scalar(pending) or 0


# As text: only so SQLite sees that a partial index holds the rows, and leaves the history alone.
_is_open = text("deliveries.state IN ('pending', 'delivering')")
_is_pending = text("deliveries.state = 'pending'")


def backlog() -> dict[str, tuple[int, datetime | None]]:
    """How many messages are pending and delivering, and when the oldest of each was made."""
    found = select(Delivery.state, func.count(), func.min(Delivery.created_at)).where(_is_open)
    rows = db.session.execute(found.group_by(Delivery.state))
    return dict.fromkeys(OPEN, (0, None)) | {state: (count, oldest) for state, count, oldest in rows}


def longest_due(now: datetime) -> datetime | None:
    """Since when the pending message is due that has been so longest."""
    due = select(func.min(Delivery.next_attempt_at)).where(_is_pending, Delivery.next_attempt_at <= now)
    return db.session.scalar(due)
