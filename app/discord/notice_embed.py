"""Builds the embed of a notice: a recovery, a reminder or an alert. Pure."""

from typing import Any

from app.digests import AlertChange, Notice, Recovery, Reminder
from app.discord.figures import long_duration, measured, plural, stamp, stamp_style
from app.discord.levels import Level

RECOVERY_COLOUR = 0x2EAA62
ALERT_WORDS = {"errorRate": "Failing", "p95": "Slow", "silence": "Silent"}
MINUTE_MILLISECONDS = 60_000


def notice_embed(level: Level, notice: Notice) -> dict[str, Any]:
    match notice:
        case Recovery():
            return _recovery(level, notice)
        case Reminder():
            return _reminder(level, notice)
        case AlertChange():
            return _alert(level, notice)


def _recovery(level: Level, recovery: Recovery) -> dict[str, Any]:
    word = level.word.lower()
    silence = recovery.noticed_at - recovery.ended_at
    quiet = f" for {long_duration(silence)}" if silence > 0 else ""
    end_style = stamp_style(recovery.ended_at, recovery.began_at)
    return {
        "title": f"🟢 Recovered: no {word} event{quiet}",
        "description": f"**{recovery.events:,} {word} {plural(recovery.events, 'event')}** from "
        f"{stamp(recovery.began_at)} to {stamp(recovery.ended_at, style=end_style)}",
        "color": RECOVERY_COLOUR,
    }


def _reminder(level: Level, reminder: Reminder) -> dict[str, Any]:
    word = level.word.lower()
    last = f", last {stamp(reminder.last_at, style='R')}" if reminder.last_at is not None else ""
    return {
        "title": f"{level.symbol} Still going on: {word} events",
        "description": f"**{reminder.events:,} {word} {plural(reminder.events, 'event')}** since "
        f"{stamp(reminder.began_at)}{last}",
        "color": level.colour,
    }


def _alert(level: Level, alert: AlertChange) -> dict[str, Any]:
    title, description = _silence(alert) if alert.kind == "silence" else _measurement(alert)
    if not alert.is_firing:
        description += f"\nIt fired {stamp(alert.fired_at or alert.at)}"
    return {
        "title": f"{level.symbol} {ALERT_WORDS[alert.kind]}: {title}" if alert.is_firing else f"🟢 Over: {title}",
        "description": description,
        "color": level.colour if alert.is_firing else RECOVERY_COLOUR,
    }


def _silence(alert: AlertChange) -> tuple[str, str]:
    limit = f"fires after {long_duration(alert.minutes * MINUTE_MILLISECONDS)}"
    if not alert.is_firing:
        return "requests come again", limit.capitalize()
    silence = round(alert.value * MINUTE_MILLISECONDS)
    return f"no request for {long_duration(silence)}", f"None since {stamp(alert.at - silence)}; {limit}"


def _measurement(alert: AlertChange) -> tuple[str, str]:
    is_rate = alert.kind == "errorRate"
    value, threshold = (measured(number, "%" if is_rate else "ms") for number in (alert.value, alert.threshold or 0.0))
    requests = f"{alert.requests:,} {plural(alert.requests, 'request')}"
    window = f"in {long_duration(alert.minutes * MINUTE_MILLISECONDS)} before {stamp(alert.at)}"
    return (
        f"{'error rate' if is_rate else 'p95'} {value}",
        f"**{value}** {'fatal among' if is_rate else 'at percentile 95 of'} {requests} {window}; fires at {threshold}",
    )
