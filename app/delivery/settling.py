"""Decides what becomes of a message, and of its webhook and destination, by what Discord said."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from app.delivery.retry import LONGEST_PAUSE, next_delay
from app.discord.client import Outcome, Verdict
from app.repositories import discord_limits, settlements, webhooks
from app.repositories.outbox import Claim
from app.repositories.outcome_counts import Key
from app.repositories.settlements import Settlement

log = logging.getLogger(__name__)

# How long nothing is sent once Discord refuses the bot, or once too many requests were invalid.
ALARM_PAUSE = timedelta(minutes=1)
BAN_PAUSE = timedelta(minutes=15)
SHORTEST_WAIT = timedelta(seconds=0.1)


def settle_all(
    answers: Sequence[tuple[Claim, Outcome]],
    now: datetime,
    window: timedelta,
    luck: Callable[[], float],
    counts: Counter[Key],
) -> list[datetime]:
    """Write down what Discord said to each claim, and count it; of a claim that was lost, only what it says of Discord.

    What an address answered concerns that address: where the webhook has another by now, a message that was not
    delivered is due again, for the new one. Does not commit. Returns when there is something to be sent again.
    """
    held = settlements.lock_held(claim for claim, _ in answers)
    settled = [_consequences(claim, outcome, now, luck()) for claim, outcome in answers]
    settled = [_for_new_address(each, now) if held.has_moved(each.claim) else each for each in settled]
    ours = [settlement for settlement in settled if held.holds(settlement.claim)]
    for settlement in ours:
        if settlement.outcome.verdict is Verdict.SUSPEND and not held.has_moved(settlement.claim):
            webhooks.suspend(settlement.claim.webhook_id, settlement.outcome.reason or "")
        _count(settlement, counts)
        _log(settlement)
    settlements.write(settled, held, now, window)
    for settlement in sorted(settled, key=lambda each: (each.claim.address.kind, each.claim.webhook_id)):
        keep_limits(settlement.outcome, settlement.claim.address.kind, settlement.claim.webhook_id, now)
    if lost := len(answers) - len(ours):
        log.warning("Lost the claim on %d deliveries while sending them; another dispatcher has them.", lost)
    ends = [now + window for settlement in settled if settlement.is_delivered]
    return ends + [settlement.paused_until for settlement in settled if settlement.paused_until]


def _for_new_address(settlement: Settlement, now: datetime) -> Settlement:
    if settlement.is_delivered:
        return settlement
    return replace(settlement, state="pending", next_attempt_at=now, attempts=0, nonce=None)


def _consequences(claim: Claim, outcome: Outcome, now: datetime, luck: float) -> Settlement:
    limit = timedelta(seconds=outcome.pause)

    def settled(state: str, reason: str | None = outcome.reason) -> Settlement:
        return Settlement(claim, outcome, state, None, claim.attempts, claim.nonce, reason, _after(now, limit))

    def waiting(delay: timedelta, pause: timedelta, attempts: int) -> Settlement:
        due = now + delay
        return Settlement(claim, outcome, "pending", due, attempts, claim.nonce, outcome.reason, _after(now, pause))

    match outcome.verdict:
        case Verdict.DELIVERED:
            return settled("delivered")
        case Verdict.DISCARD:
            return settled("discarded")
        case Verdict.SUSPEND:
            return replace(settled("pending"), nonce=None, next_attempt_at=now)
        case Verdict.RATE_LIMITED:
            wait = max(timedelta(seconds=outcome.retry_after), SHORTEST_WAIT)
            return waiting(wait, wait, claim.attempts - 1)
        case Verdict.STOP_BOT | Verdict.NOT_SENT:
            return waiting(timedelta(), limit, claim.attempts - 1)
    delay = next_delay(claim.attempts, luck)
    if delay is None:
        return settled("discarded", f"Given up after {claim.attempts} tries. The last: {outcome.reason}")
    return waiting(delay, max(limit, min(delay, LONGEST_PAUSE)), claim.attempts)


def _after(now: datetime, pause: timedelta) -> datetime | None:
    return now + pause if pause else None


def keep_limits(outcome: Outcome, kind: str, webhook_id: str, now: datetime) -> None:
    """Note what an answer means for more than its own destination: for all of its kind, or for the webhook's owner.

    Sending stops before Discord bans the host for answers of 401, 403 and 429. Those of 401 and 403, which a user can
    bring about, count for the webhook's owner, too. Does not commit.
    """
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
    if outcome.is_invalid_request and outcome.status != 429:
        discord_limits.count_refusal(webhook_id, now)


def _count(settlement: Settlement, counts: Counter[Key]) -> None:
    claim, outcome, state = settlement.claim, settlement.outcome, settlement.state
    counts[Key("attempts", outcome.verdict.name.lower(), outcome.status or 0)] += 1
    if state in ("delivered", "discarded"):
        counts[Key("events", state)] += claim.event_count


def _log(settlement: Settlement) -> None:
    claim, outcome, state = settlement.claim, settlement.outcome, settlement.state
    level = logging.INFO if outcome.verdict is Verdict.DELIVERED else logging.WARNING
    fields = {
        "delivery_id": claim.delivery_id,
        "webhook_id": claim.webhook_id,
        "kind": claim.address.kind,
        "events": claim.event_count,
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
        claim.event_count,
        claim.attempts,
        outcome.verdict.value,
        state,
        f" {outcome.reason}" if outcome.reason else "",
        extra=fields,
    )
