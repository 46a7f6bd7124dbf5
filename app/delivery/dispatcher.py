"""The dispatcher: claims, sends and settles deliveries. One thread uses the database, a thread pool sends."""

import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from app.delivery.judging import Judging
from app.delivery.retention import Retention
from app.delivery.retry import next_delay
from app.delivery.settling import settle_all
from app.delivery.troubles import Troubles
from app.delivery.upkeep import Upkeep
from app.discord.client import DiscordClient
from app.discord.message import build_message
from app.discord.outcome import UNREADABLE, Answer, Outcome
from app.extensions import db
from app.models.columns import NO_ID, new_id
from app.repositories import (
    claims,
    discord_limits,
    dispatchers,
    due,
    merging,
    outcome_counts,
    seen_kinds,
    webhooks,
)
from app.repositories.claims import Claim, Claims, Unreadable
from app.repositories.clock import DatabaseClock
from app.repositories.due import Candidate
from app.repositories.failures import explain, reason

log = logging.getLogger(__name__)
T = TypeVar("T")

# An older claim belongs to a dispatcher that died or hangs. Longer than the worst case of one request.
LEASE = timedelta(seconds=30)
# A claimed message that waited longer for a free sender is not sent, since its lease might end meanwhile.
SENDER_WAIT_SECONDS = 2.0
# Claim 50 % more than there are connections, so that senders never idle.
CLAIM_AHEAD = 1.5
# The pause between two rounds while more is claimed than can be sent at a time.
LINGER_SECONDS = 0.01
POLL_SECONDS = 1.0
# How long merging may hold a transaction, for which other writers may wait.
MERGE_SECONDS = 0.02
# The pause between two heartbeats, after each of which stale claims are released.
BEAT_SECONDS = 5.0
FORGET_AFTER = timedelta(minutes=10)
# How long a stopping dispatcher waits for answers; below gunicorn's graceful timeout of 30 s.
DRAIN_SECONDS = 22.0


class Dispatcher:
    """Claims due deliveries, sends them, and settles those whose lease it still holds. Needs an application context.

    ``window`` is the digest window. After ``recovery_after`` without events, an incident is closed, with a
    recovery notice (None: after five minutes, without).
    ``clock`` defaults to the database's; ``jitter``, from 0 to 1, spreads the retries. Messages link to ``public_url``.

    A webhook or step of upkeep that fails is logged and set aside for a while; all others go on.
    """

    def __init__(
        self,
        client: DiscordClient,
        connections: int,
        window: timedelta,
        retention: Retention,
        recovery_after: timedelta | None = None,
        clock: Callable[[], datetime] | None = None,
        jitter: Callable[[], float] = random.random,
        public_url: str | None = None,
    ) -> None:
        self.id = new_id()
        self.client = client
        self.connections = connections
        self.window = window
        self.database_clock = DatabaseClock()
        self.clock = clock or self.database_clock
        self.jitter = jitter
        self.public_url = public_url
        self.stopping = Event()
        self.pool = ThreadPoolExecutor(connections, thread_name_prefix="sender")
        # Discord's answers, and None for a wake.
        self.inbox: SimpleQueue[tuple[Claim, Answer] | None] = SimpleQueue()
        self.answers: list[tuple[Claim, Answer]] = []
        self.in_flight = 0
        # Settled outcomes that are not yet added to the database's counts.
        self.counts: Counter[outcome_counts.Key] = Counter()
        self.wake_times: list[datetime] = []
        # The keyset position of the scan: the last webhook's id.
        self.scan_after = NO_ID
        # Webhooks with more deliveries than one claim can merge, and the delivery after which merging continues. None:
        # merged since the last scan, so the next scan may claim the message.
        self.unmerged: dict[str, str | None] = {}
        self.judging = Judging(self.clock)
        self.troubles = Troubles()
        self.upkeep = Upkeep(retention, recovery_after, self.clock, self.troubles)
        # In monotonic seconds.
        self.next_beat = 0.0

    def wake(self) -> None:
        """Scan the outbox now. Thread-safe."""
        self.inbox.put(None)

    def stop(self) -> None:
        """Make ``run`` finish the messages in flight and return. Thread-safe."""
        self.stopping.set()
        self.wake()

    def run(self, is_orphan: Callable[[], bool] = lambda: False) -> None:
        """Work until ``stop`` is called, or until ``is_orphan`` says that the parent process is gone."""
        self._safely("start", self._join)
        log.info("Dispatcher %s started.", self.id)
        while not self.stopping.is_set():
            self.stopping.wait(self._work_and_rest())
            self._receive(self._until_next())
            if is_orphan():
                self.stop()
        self._drain()
        log.info("Dispatcher %s stopped.", self.id)

    def run_until_idle(self) -> int:
        """Send, count and purge until nothing is due, for tests. Returns the number of attempts."""
        tried = 0
        self.next_beat = self.upkeep.next_at = 0.0
        while (sent := self.work()) or self.unmerged or self.upkeep.is_behind or self.scan_after != NO_ID:
            tried += sent
            while self.in_flight:
                self._receive(DRAIN_SECONDS)
        return tried

    def work(self) -> int:
        """One round at the database: settle, keep up, claim, merge. Returns the number of claims."""
        self._settle()
        self._keep_up()
        room = 0 if self.stopping.is_set() else int(self.connections * CLAIM_AHEAD) - self.in_flight
        claimed = self._claim(self._scan(room)) if room > 0 else []
        for claim in claimed:
            self.in_flight += 1
            self.pool.submit(self._send, claim, monotonic() + SENDER_WAIT_SECONDS)
        self._merge()
        return len(claimed)

    def _scan(self, room: int) -> list[Candidate]:
        """Up to ``room`` deliveries to claim, oldest first, at most one per destination."""
        found = due.scan(self.clock(), self.scan_after)
        db.session.commit()
        self.judging.choose(found.held)
        if self.judging.chosen and bool(self.troubles.run(self.judging.judge_held)):
            found = due.scan(self.clock(), self.scan_after)
            db.session.commit()
        self.scan_after = found.ends_at
        self.unmerged = {webhook_id: after for webhook_id, after in self.unmerged.items() if after is not None}
        chosen: dict[str, Candidate] = {}
        for candidate in found.candidates:
            if candidate.webhook_id not in self.unmerged and not self.troubles.has(candidate.webhook_id):
                chosen.setdefault(candidate.destination_id, candidate)
        return list(chosen.values())[:room]

    def _claim(self, candidates: Sequence[Candidate]) -> list[Claim]:
        """Claim all at once. If that fails, claim one by one, and set aside the webhook that fails."""
        if not candidates:
            return []
        try:
            return self._claim_together(candidates)
        except Exception as error:
            db.session.rollback()
            if reason(error):
                raise
            if len(candidates) == 1:
                self.troubles.add(candidates[0].webhook_id, f"Webhook {candidates[0].webhook_id}", error)
                return []
        return [claim for candidate in candidates for claim in self._claim([candidate])]

    def _claim_together(self, candidates: Sequence[Candidate]) -> list[Claim]:
        now = self.clock()
        claims.add_destinations_and_commit(candidates)
        found: Claims = claims.claim(candidates, now, MERGE_SECONDS)
        for unreadable in found.unreadable:
            self._postpone(unreadable, now)
        taken = seen_kinds.with_new(found.taken, now)
        db.session.commit()
        self.unmerged |= dict.fromkeys(found.unmerged, NO_ID)
        self.troubles.passed(claim.webhook_id for claim in found.taken)
        return taken

    def _postpone(self, unreadable: Unreadable, now: datetime) -> None:
        log.error("Delivery %s cannot be read, and is put off. %s", unreadable.delivery_id, unreadable.reason)
        delay = next_delay(unreadable.attempts, self.jitter())
        next_attempt_at = now + delay if delay else None
        claims.postpone(unreadable.delivery_id, unreadable.attempts, next_attempt_at)

    def _merge(self) -> None:
        """Merge a batch of deliveries of the next webhook in ``unmerged``, round-robin."""
        webhook_id, after = next(
            ((key, after) for key, after in self.unmerged.items() if after is not None), ("", None)
        )
        if after is None:
            return
        del self.unmerged[webhook_id]
        with self.troubles.of(webhook_id, f"Webhook {webhook_id}"):
            goes_on = merging.merge_batch(webhook_id, after, MERGE_SECONDS)
            db.session.commit()
            self.unmerged[webhook_id] = goes_on

    def _work_and_rest(self) -> float:
        """Work once. Returns seconds to rest: after a round without claims, as long as the round took."""
        began = monotonic()
        claimed = self._safely("work", self.work)
        if claimed is None:
            return POLL_SECONDS
        if claimed or self.unmerged or self.scan_after != NO_ID:
            return LINGER_SECONDS if self.in_flight > self.connections else 0.0
        return min(POLL_SECONDS, monotonic() - began)

    def _send(self, claim: Claim, not_after: float) -> None:
        """Send in a thread of the pool, and put the answer into the inbox."""
        if monotonic() > not_after:
            self.inbox.put((claim, Answer(Outcome.NOT_SENT, "Every connection to Discord is busy; trying again.")))
            return
        try:
            message = build_message(claim.level, claim.source_name, claim.digest, claim.notes, self.public_url)
            answer = self.client.send(claim.address, message, claim.nonce)
        except Exception as error:
            log.error("Delivery %s could not be built or sent: %s.", claim.delivery_id, type(error).__name__)
            answer = Answer(Outcome.RETRY, f"An unexpected error occurred here ({type(error).__name__}).")
        self.inbox.put((claim, answer))

    def _receive(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for an answer or a wake, then take all that have come."""
        try:
            item = self.inbox.get(timeout=timeout)
            while True:
                if item is not None:
                    self.in_flight -= 1
                    self.answers.append(item)
                item = self.inbox.get_nowait()
        except Empty:
            return

    def _settle(self) -> None:
        """Settle all answers in one transaction, and keep them until it is committed.

        If that fails, settle one by one: the claim that cannot be settled expires, and its webhook is set aside.
        """
        if not self.answers:
            return
        try:
            self._settle_together(self.answers)
        except Exception as error:
            db.session.rollback()
            if reason(error):
                raise
            for answer in self.answers:
                webhook_id = answer[0].webhook_id
                with self.troubles.of(webhook_id, f"Webhook {webhook_id}"):
                    self._settle_together([answer])
        self.answers.clear()

    def _settle_together(self, answers: Sequence[tuple[Claim, Answer]]) -> None:
        counts: Counter[outcome_counts.Key] = Counter()
        wake_times = settle_all(answers, self.clock(), self.window, self.jitter, counts)
        db.session.commit()
        self.counts.update(counts)
        self.wake_times += wake_times

    def _keep_up(self) -> None:
        """Run what is due, each step in its own transaction."""
        if monotonic() >= self.next_beat:
            self.next_beat = monotonic() + BEAT_SECONDS
            self.troubles.forgive()
            for step in (self._beat, self._release_stale, self._commit_counts):
                self.troubles.run(step)
        self.upkeep.run_if_due()

    def _beat(self) -> None:
        self.database_clock.synchronise()
        now = self.clock()
        dispatchers.heartbeat(self.id, now, now - FORGET_AFTER, len(self.troubles), self.troubles.last)

    def _release_stale(self) -> None:
        if released := claims.release_stale(self.clock(), LEASE):
            log.warning("Took up %d deliveries that another dispatcher claimed and never settled.", released)

    def _commit_counts(self) -> None:
        outcome_counts.add(self.counts)
        db.session.commit()
        self.counts.clear()

    def _until_next(self) -> float:
        """Seconds until the next known due time, at most POLL_SECONDS."""
        if self.unmerged or self.scan_after != NO_ID or self.judging.has_more:
            return 0.0
        if self.upkeep.is_behind:
            return self.upkeep.seconds_left()
        now = self.clock()
        self.wake_times = [moment for moment in self.wake_times if moment > now]
        return min([POLL_SECONDS, *((moment - now).total_seconds() + 0.001 for moment in self.wake_times)])

    def _drain(self) -> None:
        deadline = monotonic() + DRAIN_SECONDS
        while self.in_flight and monotonic() < deadline:
            self._receive(deadline - monotonic())
        self._safely("stop", self._settle)
        self._safely("stop", self._leave)
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _join(self) -> None:
        """Lift the alarms and suspensions that a person may have fixed before this start."""
        discord_limits.lift_alarms()
        webhooks.resume_readable(UNREADABLE)
        db.session.commit()

    def _leave(self) -> None:
        dispatchers.remove_heartbeat(self.id)
        self._commit_counts()

    def _safely(self, what: str, step: Callable[[], T]) -> T | None:
        """Run ``step`` and return its result; None after a database error, which is only logged."""
        try:
            return step()
        except DBAPIError as error:
            db.session.rollback()
            log.error("%s The dispatcher tries again (%s).", explain(error), what)
            return None
