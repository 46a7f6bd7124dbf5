"""The events of webhooks by minute, from their deliveries: what was told, or waits to be told."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, Select, case, func, literal, select, text, true, union_all

from app.extensions import db
from app.models import Delivery, Webhook
from app.models.columns import Identifier, minute_at
from app.repositories.deliveries import OPEN
from app.repositories.outbox import GATHERED
from app.repositories.tallies import minute_of

# The newest deliveries of a webhook that are looked at: more than those of a day, unless many wait.
MAX_ROWS = 20_000
# Those of all webhooks together, in equal shares, so that no list of sources holds a worker for long.
MAX_ROWS_TOGETHER = 50_000


@dataclass
class EventMinutes:
    """Events by minute, counted from 1970, from the minute ``begin`` on; within an incident also minutes without any.

    ``is_cut`` if there are more since the minute asked for. ``is_over`` if nothing waits and no incident goes on.
    """

    begin: int
    by_minute: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    is_cut: bool = False
    is_over: bool = True

    @property
    def events(self) -> int:
        return sum(self.by_minute.values())

    def fill(self, first: int, last: int) -> None:
        for minute in range(max(first, self.begin), last + 1):
            self.by_minute[minute] += 0


def leaving_out(source_ids: Collection[str]) -> dict[str, Webhook]:
    """The fatal webhooks of sources whose policy may leave events out, by source."""
    query = select(Webhook).where(Webhook.traffic_source_id.in_(source_ids), Webhook.level == "fatal")
    some = query.where(Webhook.ignore_rules.is_not(None) | Webhook.threshold_events.is_not(None))
    return {str(webhook.traffic_source_id): webhook for webhook in db.session.scalars(some)}


def events_of(webhooks: Collection[Webhook], begin: int, end: int) -> dict[str, EventMinutes]:
    """The events of each webhook from the minute ``begin`` to before ``end``, by its id, in one statement."""
    rows: dict[str, list[Row[*tuple[Any, ...]]]] = defaultdict(list)
    most = min(MAX_ROWS, MAX_ROWS_TOGETHER // max(1, len(webhooks)))
    if webhooks:
        for row in db.session.execute(union_all(*(_minutes(webhook, most) for webhook in webhooks))):
            rows[row.webhook_id].append(row)
    return {webhook.id: _events(webhook, rows[webhook.id], begin, end, most) for webhook in webhooks}


def _minutes(webhook: Webhook, most: int) -> Select[*tuple[Any, ...]]:
    """The ``most`` newest deliveries of the webhook by minute, without those that gather below a threshold.

    These may tell nothing.
    """
    is_held = webhook.threshold_events is not None and webhook.incident_since is None
    newest = (
        select(
            minute_of(Delivery.created_at).label("minute"),
            Delivery.event_count,
            case((Delivery.state.in_(OPEN), 1), else_=0).label("is_open"),
        )
        .where(Delivery.webhook_id == webhook.id, Delivery.event_count > 0)
        .where(text(f"NOT ({GATHERED})") if is_held else true())
        .order_by(Delivery.id.desc())
        .limit(most)
        .subquery()
    )
    return select(
        literal(webhook.id, Identifier).label("webhook_id"),
        newest.c.minute,
        func.sum(newest.c.event_count).label("events"),
        func.count().label("number"),
        func.max(newest.c.is_open).label("is_open"),
    ).group_by(newest.c.minute)


def _events(webhook: Webhook, rows: Sequence[Row[*tuple[Any, ...]]], begin: int, end: int, most: int) -> EventMinutes:
    """A delivery tells of its events when the first came; the webhook, until when those came that were delivered."""
    is_full = sum(row.number for row in rows) == most
    first = max(begin, min(row.minute for row in rows)) if is_full else begin
    found = EventMinutes(first, is_cut=first > begin)
    for row in rows:
        if first <= row.minute < end:
            found.by_minute[row.minute] += int(row.events)
    is_open = any(row.is_open for row in rows)
    found.is_over = webhook.incident_since is None and not is_open
    if webhook.last_event_at:
        last = min(minute_at(webhook.last_event_at), end - 1)
        if webhook.incident_since:
            found.fill(minute_at(webhook.incident_since), last)
        elif rows and not is_open:
            found.fill(max(row.minute for row in rows), last)
    return found
