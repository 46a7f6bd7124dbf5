"""What Discord imposes on the bot, or on a host, as a whole. Shared by every dispatcher."""

import math
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, case, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from app.errors import TooManyRequests
from app.extensions import db
from app.models import DiscordLimit, RefusalCount, TrafficSource, Webhook
from app.repositories.base import insert_ignoring_conflicts

# Discord bans a host for 10,000 invalid requests within 10 minutes. We stop far below that.
INVALID_WINDOW = timedelta(minutes=10)
WINDOW_SECONDS = int(INVALID_WINDOW.total_seconds())
INVALID_BUDGET = 2_000
# Test messages, which somebody may do without, end here: what is left is for what is owed.
TEST_BUDGET = INVALID_BUDGET // 2
# How many of them the webhooks of one user may cause.
USER_BUDGET = INVALID_BUDGET // 20
KINDS = ("channels", "webhooks")


def pause(kind: str, until: datetime, reason: str | None = None) -> None:
    """Send nothing to this kind of destination before ``until``. A ``reason`` makes it an alarm."""
    _ensure(kind, until)
    held = update(DiscordLimit).where(DiscordLimit.kind == kind)
    db.session.execute(held.values(paused_until=until, reason=reason))


def count_invalid_request(kind: str, now: datetime) -> bool:
    """Count an answer of 401, 403 or 429. True where the budget of this window is used up."""
    _ensure(kind, now)
    number, since = DiscordLimit.invalid_requests, DiscordLimit.invalid_since
    return _count_in_window(number, since, DiscordLimit.kind == kind, now) >= INVALID_BUDGET


def count_refusal(webhook_id: str, now: datetime) -> None:
    """Count an answer of 401 or 403 for the user whose webhook it was."""
    owner = select(TrafficSource.user_id).join(Webhook, Webhook.traffic_source_id == TrafficSource.id)
    user_id = db.session.scalar(owner.where(Webhook.id == webhook_id))
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
    """Count one more in the row's window, or begin a new one where it is over. Returns how many there are in it."""
    over = _is_over(since, now)
    values = {number: case((over, 1), else_=number + 1), since: case((over, now), else_=since)}
    return db.session.scalar(update(number.class_).where(row).values(values).returning(number)) or 0


def refuse_test(kind: str, user_id: str, now: datetime) -> None:
    """Raises TooManyRequests where a test message would come near Discord's ban, or could not be sent anyway."""
    if held := paused(kind, now):
        seconds, reason = held
        raise TooManyRequests(seconds, reason or "Discord's limit for the whole bot is reached.")
    if invalid_requests(now)[kind] >= TEST_BUDGET:
        raise TooManyRequests(WINDOW_SECONDS, "Discord refused so many requests of this service that tests must wait.")
    ours = select(RefusalCount.number).where(RefusalCount.user_id == user_id, ~_is_over(RefusalCount.since, now))
    if (db.session.scalar(ours) or 0) >= USER_BUDGET:
        raise TooManyRequests(WINDOW_SECONDS, "Discord refused too many messages of your webhooks: put them right.")


def _is_over(since: ColumnElement[datetime] | InstrumentedAttribute[datetime], now: datetime) -> ColumnElement[bool]:
    """Whether a window that began at ``since`` has ended; or began further ahead than it can have."""
    return or_(since <= now - INVALID_WINDOW, since > now + INVALID_WINDOW)


def paused(kind: str, now: datetime) -> tuple[int, str | None] | None:
    """For how many seconds nothing is sent to this kind, and why where that is an alarm. None where it is sent to."""
    found = select(DiscordLimit.paused_until, DiscordLimit.reason)
    found = found.where(DiscordLimit.kind == kind, DiscordLimit.paused_until > now)
    if row := db.session.execute(found).one_or_none():
        return max(1, math.ceil((row.paused_until - now).total_seconds())), row.reason
    return None


def alarms(now: datetime) -> dict[str, str]:
    """Why Discord is not called at all now, by kind of destination."""
    raised = select(DiscordLimit.kind, DiscordLimit.reason)
    raised = raised.where(DiscordLimit.paused_until > now, DiscordLimit.reason.is_not(None))
    return {kind: reason or "" for kind, reason in db.session.execute(raised)}


def lift_alarms() -> None:
    """Try again what a person was asked to mend."""
    raised = update(DiscordLimit).where(DiscordLimit.reason.is_not(None))
    db.session.execute(raised.values(paused_until=None, reason=None))


def invalid_requests(now: datetime) -> dict[str, int]:
    """How many answers of 401, 403 and 429 count in the current window, by kind of destination."""
    current = select(DiscordLimit.kind, DiscordLimit.invalid_requests)
    current = current.where(DiscordLimit.invalid_since > now - INVALID_WINDOW)
    return dict.fromkeys(KINDS, 0) | {row.kind: row.invalid_requests for row in db.session.execute(current)}


def _ensure(kind: str, now: datetime) -> None:
    fresh = insert_ignoring_conflicts(DiscordLimit)
    db.session.execute(fresh.values(kind=kind, invalid_requests=0, invalid_since=now))
