"""What becomes of a message, and of its webhook and destination, by what Discord said."""

import logging
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from app.discord.client import Outcome, Verdict
from app.dispatcher.retry import LONGEST_PAUSE, next_delay
from app.repositories import discord_limits, outbox, webhooks
from app.repositories.outbox import Claim
from app.repositories.outcomes import Key

log = logging.getLogger(__name__)

# How long nothing is sent once Discord refuses the bot, or once too many requests were invalid.
ALARM_PAUSE = timedelta(minutes=1)
BAN_PAUSE = timedelta(minutes=15)
SHORTEST_WAIT = timedelta(seconds=0.1)


def settle(claim: Claim, outcome: Outcome, now: datetime, luck: float, counts: Counter[Key]) -> datetime | None:
    """Write down ``outcome``, and count it, unless the claim was lost meanwhile.

    Returns when the destination is free again.
    """
    delivery, pause = _consequences(claim, outcome, now, luck)
    paused_until = now + pause if pause else None
    _keep_limits(claim, outcome, now)
    if not outbox.settle(claim, **delivery):
        log.warning("Lost the claim on delivery %s while sending it; another dispatcher has it.", claim.delivery_id)
        return None
    outbox.record_attempt(claim, outcome, now)
    if outcome.verdict is Verdict.DELIVERED:
        outbox.record_on_webhook(claim, last_delivered_at=now, last_error=None)
        outbox.retry_now(claim.destination_id, now)
    elif outcome.verdict is Verdict.SUSPEND:
        webhooks.suspend(claim.webhook_id, outcome.reason or "")
    else:
        outbox.record_on_webhook(claim, last_error=outcome.reason)
    outbox.release_destinations([claim.destination_id], claim.token, paused_until)
    _count(claim, outcome, delivery["state"], counts)
    _log(claim, outcome, delivery["state"])
    return paused_until


def _consequences(claim: Claim, outcome: Outcome, now: datetime, luck: float) -> tuple[dict[str, Any], timedelta]:
    """The delivery's new values, and how long its destination is left alone."""
    limit = timedelta(seconds=outcome.pause)
    waiting = {"state": "pending", "last_error": outcome.reason}
    settled = {"next_attempt_at": None, "last_error": outcome.reason}
    match outcome.verdict:
        case Verdict.DELIVERED:
            return {**settled, "state": "delivered", "delivered_at": now, "message_id": outcome.message_id}, limit
        case Verdict.DISCARD:
            return {**settled, "state": "discarded"}, limit
        case Verdict.SUSPEND:
            return {**waiting, "next_attempt_at": None, "nonce": None}, limit
        case Verdict.RATE_LIMITED:
            wait = max(timedelta(seconds=outcome.retry_after), SHORTEST_WAIT)
            return {**waiting, "next_attempt_at": now + wait, "attempts": claim.attempts - 1}, wait
        case Verdict.STOP_BOT:
            return {**waiting, "next_attempt_at": now, "attempts": claim.attempts - 1}, limit
    delay = next_delay(claim.attempts, luck)
    if delay is None:
        reason = f"Given up after {claim.attempts} tries. The last: {outcome.reason}"
        return {**settled, "state": "discarded", "last_error": reason}, limit
    return {**waiting, "next_attempt_at": now + delay}, max(limit, min(delay, LONGEST_PAUSE))


def _keep_limits(claim: Claim, outcome: Outcome, now: datetime) -> None:
    """What concerns more than this one destination."""
    kind = claim.address.kind
    if outcome.verdict is Verdict.STOP_BOT:
        banned = outcome.status == 429
        for concerned in discord_limits.KINDS if banned else (kind,):
            discord_limits.pause(concerned, now + (BAN_PAUSE if banned else ALARM_PAUSE), outcome.reason)
            log.error("Nothing is sent to %s for now. %s", concerned, outcome.reason)
    elif outcome.verdict is Verdict.RATE_LIMITED and outcome.scope == "global":
        discord_limits.pause(kind, now + timedelta(seconds=outcome.retry_after))
    if outcome.is_invalid_request and discord_limits.count_invalid_request(kind, now):
        reason = "Discord refused so many requests that it would soon block this host; waiting ten minutes."
        discord_limits.pause(kind, now + discord_limits.INVALID_WINDOW, reason)
        log.error("Nothing is sent to %s for now. %s", kind, reason)


def _count(claim: Claim, outcome: Outcome, state: str, counts: Counter[Key]) -> None:
    counts[Key("attempts", outcome.verdict.name.lower(), outcome.status or 0)] += 1
    if state in ("delivered", "discarded"):
        counts[Key("events", state)] += claim.facts.event_count


def _log(claim: Claim, outcome: Outcome, state: str) -> None:
    level = logging.INFO if outcome.verdict is Verdict.DELIVERED else logging.WARNING
    fields = {
        "delivery_id": claim.delivery_id,
        "webhook_id": claim.webhook_id,
        "kind": claim.address.kind,
        "events": claim.facts.event_count,
        "attempt": claim.attempts,
        "outcome": outcome.verdict.name.lower(),
        "status": outcome.status,
        "discord_code": outcome.discord_code,
        "state": state,
    }
    log.log(
        level,
        "Delivery %s (%d events, try %d): %s, now %s.%s",
        claim.delivery_id,
        claim.facts.event_count,
        claim.attempts,
        outcome.verdict.value,
        state,
        f" {outcome.reason}" if outcome.reason else "",
        extra=fields,
    )
