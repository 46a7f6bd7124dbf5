"""Queries and redelivery of deliveries, for their owners and for metrics."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, TextClause, bindparam, func, select, text, update
from sqlalchemy.orm import defer

from app.errors import DeliveryInProgress, DeliveryNotFound
from app.extensions import db
from app.models import Delivery, DeliveryAttempt, TrafficSource, Webhook
from app.models.columns import UTCDateTime
from app.repositories.base import Page, begin_writing, paginate, unsynchronized
from app.repositories.due import IS_IN_ORDER, IS_NOT_HELD, MAY_SEND, times_of_may_send
from app.repositories.outbox import CANNOT_BE_READ, IS_OPEN, PENDING, new_nonce

OPEN = ("pending", "delivering")


def get(delivery_id: str) -> Delivery:
    """Raises DeliveryNotFound."""
    delivery = db.session.get(Delivery, delivery_id)
    if delivery is None:
        raise DeliveryNotFound
    return delivery


def list_of(webhook_id: str, page: int, page_limit: int, state: str | None = None) -> Page:
    """A page of the webhook's deliveries, newest first."""
    query = select(Delivery).where(Delivery.webhook_id == webhook_id)
    if state:
        query = query.where(Delivery.state == state)
    return paginate(query, page, page_limit, Delivery.id.desc())


def list_before(webhook_id: str, before: str | None, most: int, state: str | None = None) -> Sequence[Delivery]:
    """The newest deliveries of the webhook with ids below ``before``, which unlike a page costs no count.

    They come without digests, which may be large: see list_digests.
    """
    query = select(Delivery).where(Delivery.webhook_id == webhook_id).options(defer(Delivery.digest, raiseload=True))
    if before:
        query = query.where(Delivery.id < before)
    if state:
        query = query.where(Delivery.state == state)
    return db.session.scalars(query.order_by(Delivery.id.desc()).limit(most)).all()


def list_digests(delivery_ids: Collection[str], largest: int) -> dict[str, str]:
    """The stored digests of these deliveries, by id, without those of more than ``largest`` bytes."""
    # On SQLite, in characters; PostgreSQL would decompress them to count those.
    size = func.octet_length(Delivery.digest) if db.is_postgresql else func.length(Delivery.digest)
    query = select(Delivery.id, Delivery.digest).where(Delivery.id.in_(delivery_ids), size <= largest)
    return {row.id: row.digest for row in db.session.execute(query)}


def list_attempts(delivery_id: str) -> Sequence[DeliveryAttempt]:
    """The last 100 attempts, oldest first."""
    tries = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id)
    return db.session.scalars(tries.order_by(DeliveryAttempt.id.desc()).limit(100)).all()[::-1]


def redeliver(delivery: Delivery, now: datetime) -> None:
    """Make the delivery pending and due at once.

    A settled one gets a new nonce: Discord would recognise the old one. One that gathers with others gets one as well,
    so that it is sent, by itself, even while its webhook's threshold is not reached.

    Raises DeliveryInProgress, DeliveryNotFound.
    """
    values: dict[str, Any] = {"next_attempt_at": now, "attempts": 0}
    if delivery.state != "pending" or delivery.nonce is None:
        values |= {"state": "pending", "nonce": new_nonce(), "message_id": None}
    begin_writing()
    unsynchronized(update(Webhook).where(Webhook.id == delivery.webhook_id).values(next_message_at=None))
    again = update(Delivery).where(Delivery.id == delivery.id, Delivery.state != "delivering").values(values)
    if not unsynchronized(again):
        exists = db.session.scalar(select(Delivery.id).where(Delivery.id == delivery.id))
        raise DeliveryInProgress if exists else DeliveryNotFound
    db.session.refresh(delivery)


def count_pending_events(webhook_id: str) -> int:
    return _count_events(Delivery.webhook_id == webhook_id, IS_OPEN)


def count_new_events(webhook_id: str) -> int:
    """The pending events that were not delivered before."""
    return _count_events(Delivery.webhook_id == webhook_id, IS_OPEN, Delivery.delivered_at.is_(None))


def _count_events(*conditions: ColumnElement[bool] | TextClause) -> int:
    return int(db.session.scalar(select(func.sum(Delivery.event_count)).where(*conditions)) or 0)


def backlog() -> dict[str, tuple[int, datetime | None]]:
    """By state, pending and delivering: the number of deliveries and the oldest ``created_at``."""
    found = select(Delivery.state, func.count(), func.min(Delivery.created_at)).where(IS_OPEN)
    rows = db.session.execute(found.group_by(Delivery.state))
    return dict.fromkeys(OPEN, (0, None)) | {state: (count, oldest) for state, count, oldest in rows}


def longest_due(now: datetime) -> datetime | None:
    """The earliest due time of the deliveries that are due and whose webhook may send; None if there are none."""
    times = times_of_may_send(now)
    due = (
        select(func.min(Delivery.next_attempt_at))
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .join(TrafficSource, TrafficSource.id == Webhook.traffic_source_id)
        .where(
            Delivery.state == PENDING,
            Delivery.next_attempt_at <= now,
            text(f"(nonce IS NOT NULL OR {IS_NOT_HELD})"),
            text(IS_IN_ORDER).bindparams(cannot_be_read=CANNOT_BE_READ),
            text(MAY_SEND).bindparams(*(bindparam(name, at, UTCDateTime) for name, at in times.items())),
        )
    )
    return db.session.scalar(due)
