"""Counters of outcomes, over all dispatchers, of attempts and of events. They only grow."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from app.extensions import db
from app.models import OutcomeCount
from app.repositories.base import insert_ignoring_conflicts


class Key(NamedTuple):
    """``counted`` is "attempts", by outcome and Discord's HTTP status (0: no answer), or "events", by final state."""

    counted: str
    outcome: str
    status: int = 0


def add(counts: Counter[Key]) -> None:
    """Add to the counters, in key order against deadlocks. Does not commit."""
    if not counts:
        return
    keys = sorted(counts)
    db.session.execute(insert_ignoring_conflicts(OutcomeCount), [key._asdict() | {"number": 0} for key in keys])
    more = (
        update(OutcomeCount)
        .where(
            OutcomeCount.counted == bindparam("of_counted"),
            OutcomeCount.outcome == bindparam("of_outcome"),
            OutcomeCount.status == bindparam("of_status"),
        )
        .values(number=OutcomeCount.number + bindparam("more"))
    )
    values = [
        {"of_counted": key.counted, "of_outcome": key.outcome, "of_status": key.status, "more": counts[key]}
        for key in keys
    ]
    db.session.connection().execute(more, values)


def list_all() -> Sequence[OutcomeCount]:
    return db.session.scalars(select(OutcomeCount).order_by(OutcomeCount.outcome, OutcomeCount.status)).all()
