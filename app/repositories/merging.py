"""Merges the gathered deliveries of a webhook into one message."""

from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from sqlalchemy import Row, Select, delete, select, update

from app.digests import Digest, loads
from app.extensions import db
from app.models import Delivery
from app.models.columns import NO_ID
from app.repositories.base import plan_afresh, unsynchronized
from app.repositories.outbox import IS_GATHERED, new_nonce

# Deliveries read at a time while merging; few at first, since each digest may be large.
FIRST_BATCH_SIZE, LARGEST_BATCH_SIZE = 4, 64


def merge_batch(webhook_id: str, after: str, seconds: float) -> str | None:
    """Merge the webhook's pending deliveries after ``after`` into one, for about ``seconds``. Does not commit.

    Returns the id after which to continue; None once all of them are one delivery.
    """
    plan_afresh()
    merged = merge(webhook_id, after, monotonic() + seconds)
    if merged.is_all:
        return None if after == NO_ID else NO_ID
    return merged.last_id


@dataclass
class Merged:
    """A merged digest: the delivery that keeps it, the others, and the id after which there may be more."""

    first_id: str = NO_ID
    digest: Digest = field(default_factory=Digest)
    others: list[str] = field(default_factory=list)
    last_id: str = NO_ID
    is_all: bool = False


def merge(webhook_id: str, after: str, deadline: float) -> Merged:
    """Merge the webhook's deliveries after ``after`` into the first of them, until ``deadline`` (monotonic seconds)."""
    merged = Merged(last_id=after)
    size = FIRST_BATCH_SIZE
    while not merged.is_all:
        rows = db.session.execute(_gathered(webhook_id, merged.last_id, size)).all()
        for row in rows:
            merged.last_id = row.id
            _add(merged, row)
        merged.is_all = len(rows) < size
        if monotonic() > deadline:
            break
        size = min(LARGEST_BATCH_SIZE, size * 2)
    if merged.others:
        unsynchronized(delete(Delivery).where(Delivery.id.in_(merged.others)))
        values = {"digest": merged.digest.dumps(), "event_count": merged.digest.event_count}
        unsynchronized(update(Delivery).where(Delivery.id == merged.first_id).values(values))
    return merged


def _gathered(webhook_id: str, after: str, limit: int) -> Select[str, str]:
    gathered = select(Delivery.id, Delivery.digest).where(
        Delivery.webhook_id == webhook_id, IS_GATHERED, Delivery.id > after
    )
    return gathered.order_by(Delivery.id).limit(limit).with_for_update(key_share=True, skip_locked=True)


def _add(merged: Merged, row: Row[*tuple[Any, ...]]) -> None:
    """Add a row's digest. An unreadable row gets a nonce instead, which excludes it from merging."""
    try:
        digest = loads(row.digest)
    except ValueError:
        digest = None
    if not isinstance(digest, Digest):
        unsynchronized(update(Delivery).where(Delivery.id == row.id).values(nonce=new_nonce()))
    elif merged.first_id == NO_ID:
        merged.first_id, merged.digest = row.id, digest
    else:
        merged.digest.add(digest)
        merged.others.append(row.id)
