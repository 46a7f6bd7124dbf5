"""What Discord imposes on the bot, or on a host, as a whole. Shared by every dispatcher."""

from datetime import datetime, timedelta

from sqlalchemy import case, select, update

from app.extensions import db
from app.models import DiscordLimit
from app.repositories.base import insert_ignoring_conflicts

# Discord bans a host for 10,000 invalid requests within 10 minutes. We stop far below that.
INVALID_WINDOW = timedelta(minutes=10)
INVALID_BUDGET = 2_000
KINDS = ("channels", "webhooks")


def pause(kind: str, until: datetime, reason: str | None = None) -> None:
    """Send nothing to this kind of destination before ``until``. A ``reason`` makes it an alarm."""
    _ensure(kind, until)
    held = update(DiscordLimit).where(DiscordLimit.kind == kind)
    db.session.execute(held.values(paused_until=until, reason=reason))


def count_invalid_request(kind: str, now: datetime) -> bool:
    """Count an answer of 401, 403 or 429. True where the budget of this window is used up."""
    _ensure(kind, now)
    expired = DiscordLimit.invalid_since <= now - INVALID_WINDOW
    counted = (
        update(DiscordLimit)
        .where(DiscordLimit.kind == kind)
        .values(
            invalid_requests=case((expired, 1), else_=DiscordLimit.invalid_requests + 1),
            invalid_since=case((expired, now), else_=DiscordLimit.invalid_since),
        )
        .returning(DiscordLimit.invalid_requests)
    )
    return (db.session.scalar(counted) or 0) >= INVALID_BUDGET


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
