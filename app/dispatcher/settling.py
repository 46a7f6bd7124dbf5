"""What becomes of a message, and of its webhook and destination, by what Discord said."""

import logging
from datetime import datetime, timedelta
from typing import Any

from app.discord.client import Outcome, Verdict
from app.dispatcher.retry import LONGEST_PAUSE, next_delay
from app.repositories import deliveries, webhooks
from app.repositories.deliveries import Claim

log = logging.getLogger(__name__)

# How long messages of the bot wait while its token is missing or refused.
BOT_PAUSE = timedelta(minutes=1)


def settle(claim: Claim, outcome: Outcome, now: datetime, luck: float) -> datetime | None:
    """Write down ``outcome``, unless the claim was lost meanwhile. Returns when the destination is free again."""
    delivery, pause = _consequences(claim, outcome, now, luck)
    paused_until = now + pause if pause else None
    if not deliveries.settle(claim, **delivery):
        log.warning("Lost the claim on delivery %s while sending it; another dispatcher has it.", claim.delivery_id)
        return None
    if outcome.verdict is Verdict.DELIVERED:
        deliveries.record_on_webhook(claim, last_delivered_at=now, last_error=None)
        deliveries.retry_now(claim.destination_id, now)
    elif outcome.verdict is Verdict.SUSPEND:
        webhooks.suspend(claim.webhook_id, outcome.reason or "")
    else:
        deliveries.record_on_webhook(claim, last_error=outcome.reason)
    deliveries.release_destinations([claim.destination_id], claim.token, paused_until)
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
            wait = timedelta(seconds=outcome.retry_after)
            return {**waiting, "next_attempt_at": now + wait, "attempts": claim.attempts - 1}, wait
        case Verdict.STOP_BOT:
            return {**waiting, "next_attempt_at": now + BOT_PAUSE, "attempts": claim.attempts - 1}, BOT_PAUSE
    delay = next_delay(claim.attempts, luck)
    if delay is None:
        reason = f"Given up after {claim.attempts} tries. The last: {outcome.reason}"
        return {**settled, "state": "discarded", "last_error": reason}, limit
    return {**waiting, "next_attempt_at": now + delay}, max(limit, min(delay, LONGEST_PAUSE))


def _log(claim: Claim, outcome: Outcome, state: str) -> None:
    level = logging.INFO if outcome.verdict is Verdict.DELIVERED else logging.WARNING
    log.log(
        level,
        "Delivery %s (%d events, try %d): %s, now %s.%s",
        claim.delivery_id,
        claim.digest.event_count,
        claim.attempts,
        outcome.verdict.value,
        state,
        f" {outcome.reason}" if outcome.reason else "",
    )
