"""Discord's limits on a whole bot or host, shared by all dispatchers: pauses, alarms, invalid requests."""

import math
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, case, literal_column, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from app.errors import TooManyRequests
from app.extensions import db
from app.models import DiscordLimit, RefusalCount, TrafficSource, Webhook
from app.models.columns import Identifier
from app.repositories.base import insert_ignoring_conflicts

# Discord bans a host for 10,000 invalid requests within 10 minutes; INVALID_BUDGET stops far below that.
INVALID_WINDOW = timedelta(minutes=10)
WINDOW_SECONDS = int(INVALID_WINDOW.total_seconds())
INVALID_BUDGET = 2_000
# Test sends stop at this count: the rest of the budget is for deliveries.
TEST_BUDGET = INVALID_BUDGET // 2
# The share of one user: of the webhooks that they set, and of their tests.
USER_BUDGET = INVALID_BUDGET // 20
KINDS = ("channels", "webhooks")
# Who answers for a webhook's refused messages: who set it, unless that account is gone, else the source's owner.
ANSWERS_FOR = """
    coalesce((SELECT users.id FROM users WHERE users.id = webhooks.set_by_id), traffic_sources.user_id)
"""


def pause(kind: str, until: datetime, reason: str | None = None) -> None:
    """Pause sending to a kind of destination until ``until``. A ``reason`` makes the pause an alarm."""
    _ensure(kind, until)
    limit = update(DiscordLimit).where(DiscordLimit.kind == kind)
    db.session.execute(limit.values(paused_until=until, reason=reason))


def count_invalid_request(kind: str, now: datetime) -> bool:
    """Count an answer of 401, 403 or 429. Returns whether the window's budget is used up."""
    _ensure(kind, now)
    number, since = DiscordLimit.invalid_requests, DiscordLimit.invalid_since
    return _count_in_window(number, since, DiscordLimit.kind == kind, now) >= INVALID_BUDGET


def count_refusal(webhook_id: str, now: datetime, tester_id: str | None = None) -> None:
    """Count an answer of 401 or 403 for who asked for the test, else for who set the webhook, else for its owner."""
    answers = select(literal_column(ANSWERS_FOR, Identifier)).select_from(Webhook).join(TrafficSource)
    user_id = tester_id or db.session.scalar(answers.where(Webhook.id == webhook_id))
    if user_id is None:
        return
    fresh = insert_ignoring_conflicts(RefusalCount)
    db.session.execute(fresh.values(user_id=user_id, number=0, since=now))
    _count_in_window(RefusalCount.number, RefusalCount.since, RefusalCount.user_id == user_id, now)


def _count_in_window(
    number: InstrumentedAttribute[int],
    since: InstrumentedAttribute[datetime],
    row: ColumnElement[bool],
    now: datetime,
) -> int:
    """Increment the row's fixed window, or begin a new one if it is over. Returns the count in the window."""
    over = _is_over(since, now)
    values = {number: case((over, 1), else_=number + 1), since: case((over, now), else_=since)}
    return db.session.scalar(update(number.class_).where(row).values(values).returning(number)) or 0


def refuse_test(kind: str, user_id: str, now: datetime) -> None:
    """Raises TooManyRequests if sending is paused, or if a test send could use up a budget of invalid requests."""
    if current := paused(kind, now):
        seconds, reason = current
        raise TooManyRequests(seconds, reason or "Discord's limit for the whole bot is reached.")
    if invalid_requests(now)[kind] >= TEST_BUDGET:
        raise TooManyRequests(WINDOW_SECONDS, "Discord refused so many requests of this service that tests must wait.")
    ours = select(RefusalCount.number).where(RefusalCount.user_id == user_id, ~_is_over(RefusalCount.since, now))
    if (db.session.scalar(ours) or 0) >= USER_BUDGET:
        raise TooManyRequests(WINDOW_SECONDS, "Discord refused too many messages of your webhooks: put them right.")


def _is_over(since: ColumnElement[datetime] | InstrumentedAttribute[datetime], now: datetime) -> ColumnElement[bool]:
    """Whether the window from ``since`` has ended, or was begun by a wrong clock too far in the future."""
    return or_(since <= now - INVALID_WINDOW, since > now + INVALID_WINDOW)


def paused(kind: str, now: datetime) -> tuple[int, str | None] | None:
    """The pause's remaining seconds and, for an alarm, its reason; None if sending is not paused."""
    found = select(DiscordLimit.paused_until, DiscordLimit.reason)
    found = found.where(DiscordLimit.kind == kind, DiscordLimit.paused_until > now)
    if row := db.session.execute(found).one_or_none():
        return max(1, math.ceil((row.paused_until - now).total_seconds())), row.reason
    return None


def alarms(now: datetime) -> dict[str, str]:
    """The reasons of current alarms, by kind of destination."""
    raised = select(DiscordLimit.kind, DiscordLimit.reason)
    raised = raised.where(DiscordLimit.paused_until > now, DiscordLimit.reason.is_not(None))
    return {kind: reason or "" for kind, reason in db.session.execute(raised)}


def lift_alarms() -> None:
    """End all alarms, in case a person has fixed their causes."""
    raised = update(DiscordLimit).where(DiscordLimit.reason.is_not(None))
    db.session.execute(raised.values(paused_until=None, reason=None))


def invalid_requests(now: datetime) -> dict[str, int]:
    """The number of answers of 401, 403 and 429 in the current window, by kind of destination."""
    current = select(DiscordLimit.kind, DiscordLimit.invalid_requests)
    current = current.where(DiscordLimit.invalid_since > now - INVALID_WINDOW)
    return dict.fromkeys(KINDS, 0) | {row.kind: row.invalid_requests for row in db.session.execute(current)}


def _ensure(kind: str, now: datetime) -> None:
    fresh = insert_ignoring_conflicts(DiscordLimit)
    db.session.execute(fresh.values(kind=kind, invalid_requests=0, invalid_since=now))
