"""Settles claims: derives the new state of delivery, webhook and destination from Discord's answer."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from app.delivery.retry import DELAYS_SECONDS, LONGEST_PAUSE, NOTICE_DELAYS_SECONDS, next_delay
from app.discord.outcome import Answer, Outcome
from app.repositories import discord_limits, settlements, webhooks
from app.repositories.claims import Claim
from app.repositories.outcome_counts import Key
from app.repositories.settlements import Settlement

log = logging.getLogger(__name__)

# How long sending pauses after Discord refused the bot token, and after it banned the host.
ALARM_PAUSE = timedelta(minutes=1)
BAN_PAUSE = timedelta(minutes=15)
SHORTEST_WAIT = timedelta(seconds=0.1)


def settle_all(
    answers: Sequence[tuple[Claim, Answer]],
    now: datetime,
    window: timedelta,
    jitter: Callable[[], float],
    counts: Counter[Key],
) -> list[datetime]:
    """Settle each claim by its answer, and add the outcomes to ``counts``. Does not commit.

    A claim that was lost only updates Discord's limits. If the webhook's address was changed meanwhile, a message that
    was not delivered is due at once for the new address. Returns the times at which messages may become due.
    """
    valid = settlements.lock_valid(claim for claim, _ in answers)
    settled = [_consequences(claim, answer, now, jitter()) for claim, answer in answers]
    settled = [_for_new_address(each, now) if valid.has_moved(each.claim) else each for each in settled]
    ours = [settlement for settlement in settled if valid.has(settlement.claim)]
    for settlement in ours:
        if settlement.answer.outcome is Outcome.SUSPEND and not valid.has_moved(settlement.claim):
            webhooks.suspend(settlement.claim.webhook_id, settlement.answer.reason or "")
        _count(settlement, counts)
        _log(settlement)
    settlements.write(settled, valid, now, window)
    for settlement in sorted(settled, key=lambda each: (each.claim.address.kind, each.claim.webhook_id)):
        keep_limits(settlement.answer, settlement.claim.address.kind, settlement.claim.webhook_id, now)
    if lost := len(answers) - len(ours):
        log.warning("Lost the claim on %d deliveries while sending them; another dispatcher has them.", lost)
    ends = [now + window for settlement in settled if settlement.is_delivered]
    return ends + [settlement.paused_until for settlement in settled if settlement.paused_until]


def _for_new_address(settlement: Settlement, now: datetime) -> Settlement:
    if settlement.is_delivered:
        return settlement
    return replace(settlement, state="pending", next_attempt_at=now, attempts=0, nonce=_kept_nonce(settlement.claim))


def _kept_nonce(claim: Claim) -> str | None:
    """None lets the events gather with new ones. A notice, and what was delivered before, never does."""
    return claim.nonce if claim.was_delivered or not claim.event_count else None


def _consequences(claim: Claim, answer: Answer, now: datetime, jitter: float) -> Settlement:
    limit = timedelta(seconds=answer.pause)

    def settled(state: str, reason: str | None = answer.reason) -> Settlement:
        return Settlement(claim, answer, state, None, claim.attempts, claim.nonce, reason, _after(now, limit))

    def waiting(delay: timedelta, pause: timedelta, attempts: int) -> Settlement:
        due = now + delay
        return Settlement(claim, answer, "pending", due, attempts, claim.nonce, answer.reason, _after(now, pause))

    match answer.outcome:
        case Outcome.DELIVERED:
            return settled("delivered")
        case Outcome.DISCARD:
            return settled("discarded")
        case Outcome.SUSPEND:
            return replace(settled("pending"), nonce=_kept_nonce(claim), next_attempt_at=now)
        case Outcome.RATE_LIMITED:
            wait = max(timedelta(seconds=answer.retry_after), SHORTEST_WAIT)
            return waiting(wait, wait, claim.attempts - 1)
        case Outcome.STOP_BOT | Outcome.NOT_SENT:
            return waiting(timedelta(), limit, claim.attempts - 1)
    delay = next_delay(claim.attempts, jitter, DELAYS_SECONDS if claim.event_count else NOTICE_DELAYS_SECONDS)
    if delay is None:
        return settled("discarded", f"Given up after {claim.attempts} tries. The last: {answer.reason}")
    return waiting(delay, max(limit, min(delay, LONGEST_PAUSE)), claim.attempts)


def _after(now: datetime, pause: timedelta) -> datetime | None:
    return now + pause if pause else None


def keep_limits(answer: Answer, kind: str, webhook_id: str, now: datetime, tester_id: str | None = None) -> None:
    """Apply an answer's effects beyond its destination: global rate limits, alarms, invalid requests. Does not commit.

    Sending pauses before Discord bans the host for answers of 401, 403 and 429. Users can cause 401 and 403, so these
    also count for who asked for the test, or set the webhook.
    """
    if answer.outcome is Outcome.STOP_BOT:
        banned = answer.status == 429
        for concerned in discord_limits.KINDS if banned else (kind,):
            discord_limits.pause(concerned, now + (BAN_PAUSE if banned else ALARM_PAUSE), answer.reason)
            log.error("Nothing is sent to %s for now. %s", concerned, answer.reason)
    elif answer.outcome is Outcome.RATE_LIMITED and answer.scope == "global":
        discord_limits.pause(kind, now + timedelta(seconds=answer.retry_after))
    if answer.is_invalid_request and discord_limits.count_invalid_request(kind, now):
        reason = "Discord refused so many requests that it would soon block this host; waiting ten minutes."
        discord_limits.pause(kind, now + discord_limits.INVALID_WINDOW, reason)
        log.error("Nothing is sent to %s for now. %s", kind, reason)
    if answer.is_invalid_request and answer.status != 429:
        discord_limits.count_refusal(webhook_id, now, tester_id)


def _count(settlement: Settlement, counts: Counter[Key]) -> None:
    claim, answer, state = settlement.claim, settlement.answer, settlement.state
    counts[Key("attempts", answer.outcome.name.lower(), answer.status or 0)] += 1
    if state in ("delivered", "discarded"):
        counts[Key("events", state)] += claim.event_count


def _log(settlement: Settlement) -> None:
    claim, answer, state = settlement.claim, settlement.answer, settlement.state
    level = logging.INFO if answer.outcome is Outcome.DELIVERED else logging.WARNING
    fields = {
        "delivery_id": claim.delivery_id,
        "webhook_id": claim.webhook_id,
        "kind": claim.address.kind,
        "events": claim.event_count,
        "attempt": claim.attempts,
        "outcome": answer.outcome.name.lower(),
        "status": answer.status,
        "discord_code": answer.discord_code,
        "state": state,
    }
    log.log(
        level,
        "Delivery %s (%d events, try %d): %s, now %s.%s",
        claim.delivery_id,
        claim.event_count,
        claim.attempts,
        answer.outcome.value,
        state,
        f" {answer.reason}" if answer.reason else "",
        extra=fields,
    )
