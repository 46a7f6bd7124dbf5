"""The dispatcher: one thread talks to the database, a pool of threads talks to Discord."""

import logging
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from app.discord.client import UNREADABLE, DiscordClient, Outcome, Verdict
from app.discord.message import Notice, build_message
from app.dispatcher.settling import settle_all
from app.extensions import db
from app.models.columns import new_id, utcnow
from app.repositories import discord_limits, dispatchers, incidents, outbox, outcomes, webhooks
from app.repositories.outbox import Claim
from app.retention import Retention

log = logging.getLogger(__name__)
T = TypeVar("T")

# A claim older than this belongs to a dispatcher that died or hangs. Longer than any one request can take.
LEASE = timedelta(seconds=30)
# Of which a message may wait so long for a connection, to be sent within the rest.
PATIENCE = 2.0
# Half more than can be sent at a time is claimed, so that no connection waits for the database...
AHEAD = 2
# ... and the database can be asked less often.
LINGER = 0.01
POLL = 1.0
UPKEEP = timedelta(seconds=5)
FORGET_AFTER = timedelta(minutes=10)
# How long a stopping dispatcher waits for answers; under gunicorn's graceful timeout.
DRAIN = 22.0


class Dispatcher:
    """Claims what is due, sends it, and settles what it still holds. Runs inside an application context.

    ``window`` is how long events gather after a message, ``recovery_after`` how long fatal events must stay away
    to be told as over (None: never), ``link`` the public address messages link to.
    """

    def __init__(
        self,
        client: DiscordClient,
        connections: int,
        window: timedelta,
        retention: Retention,
        recovery_after: timedelta | None = None,
        link: str | None = None,
        clock: Callable[[], datetime] = utcnow,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self.id = new_id()
        self.client = client
        self.connections = connections
        self.window = window
        self.link = link
        self.retention = retention
        self.recovery_after = recovery_after
        self.clock = clock
        self.luck = luck
        self.stopping = Event()
        self.pool = ThreadPoolExecutor(connections, thread_name_prefix="sender")
        # Answers of Discord, and None for "look at the outbox".
        self.inbox: SimpleQueue[tuple[Claim, Outcome] | None] = SimpleQueue()
        self.answers: list[tuple[Claim, Outcome]] = []
        self.in_flight = 0
        # What was settled and is not in the database's counts yet.
        self.counts: Counter[outcomes.Key] = Counter()
        self.wake_times: list[datetime] = []
        self.next_upkeep = clock()

    def wake(self) -> None:
        """Look at the outbox now. Safe from any thread."""
        self.inbox.put(None)

    def stop(self) -> None:
        """Finish what is in flight and return from ``run``. Safe from a signal handler."""
        self.stopping.set()
        self.wake()

    def run(self, is_orphan: Callable[[], bool] = lambda: False) -> None:
        """Work until ``stop`` is called, or until ``is_orphan`` says that whoever started this is gone."""
        self._safely(self._join)
        log.info("Dispatcher %s started.", self.id)
        while not self.stopping.is_set():
            self.stopping.wait(self._work_and_rest())
            self._receive(self._until_next())
            if is_orphan():
                self.stop()
        self._drain()
        log.info("Dispatcher %s stopped.", self.id)

    def run_until_idle(self) -> int:
        """Send all that is due now, and what becomes due by it. Returns how many messages were tried."""
        tried = 0
        while sent := self.work():
            tried += sent
            while self.in_flight:
                self._receive(DRAIN)
        return tried

    def work(self) -> int:
        """One round at the database: settle, then claim as much as there are free connections."""
        self._settle()
        now = self.clock()
        if not self.next_upkeep - UPKEEP < now < self.next_upkeep:  # Also where the clock was set back.
            self._keep_up(now)
        room = 0 if self.stopping.is_set() else self.connections + self.connections // AHEAD - self.in_flight
        claims = outbox.claim(now, room, self.window) if room > 0 else []
        db.session.commit()
        for claim in claims:
            self.in_flight += 1
            self.pool.submit(self._send, claim, monotonic() + PATIENCE)
        if claims:
            self.wake_times.append(now + self.window)
        return len(claims)

    def _work_and_rest(self) -> float:
        """Work once. Returns for how many seconds not to: a long look in vain must not be taken over and over."""
        began = monotonic()
        claimed = self._safely(self.work)
        if claimed is None:
            return POLL
        if claimed:
            return LINGER if self.in_flight > self.connections else 0.0
        return min(POLL, monotonic() - began)

    def _send(self, claim: Claim, not_after: float) -> None:
        """In a thread of the pool."""
        if monotonic() > not_after:
            self.inbox.put((claim, Outcome(Verdict.NOT_SENT, "Every connection to Discord is busy; trying again.")))
            return
        try:
            notice = Notice(claim.level, claim.source_name, claim.delivery_id, claim.facts, self.link)
            outcome = self.client.send(claim.address, build_message(notice), claim.nonce)
        except Exception as error:
            log.error("Delivery %s could not be built or sent: %s.", claim.delivery_id, type(error).__name__)
            outcome = Outcome(Verdict.RETRY, f"An unexpected error occurred here ({type(error).__name__}).")
        self.inbox.put((claim, outcome))

    def _receive(self, timeout: float) -> None:
        """Wait for an answer or a wake-up, and take all that are there."""
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
        """All answers in one transaction; they are kept until it is committed."""
        if not self.answers:
            return
        now = self.clock()
        counts: Counter[outcomes.Key] = Counter()
        wake_times = settle_all(self.answers, now, self.luck, counts)
        db.session.commit()
        self.counts.update(counts)
        self.answers.clear()
        self.wake_times += wake_times

    def _keep_up(self, now: datetime) -> None:
        """What is to be done every few seconds."""
        dispatchers.heartbeat(self.id, now, now - FORGET_AFTER)
        if released := outbox.release_stale(now, LEASE):
            log.warning("Took up %d deliveries that another dispatcher claimed and never settled.", released)
        if self.recovery_after:
            incidents.add_recovery_notices(now, self.recovery_after)
        self.retention.purge_bite(now)
        self._commit_counts()
        self.next_upkeep = now + UPKEEP

    def _until_next(self) -> float:
        """Seconds to sleep: until something known becomes due, and never longer than a poll."""
        now = self.clock()
        self.wake_times = [moment for moment in self.wake_times if moment > now]
        return min([POLL, *((moment - now).total_seconds() + 0.001 for moment in self.wake_times)])

    def _drain(self) -> None:
        deadline = monotonic() + DRAIN
        while self.in_flight and monotonic() < deadline:
            self._receive(deadline - monotonic())
        self._safely(self._settle)
        self._safely(self._leave)
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _join(self) -> None:
        """What a person may have mended before starting this."""
        discord_limits.lift_alarms()
        webhooks.resume_readable(UNREADABLE)
        db.session.commit()

    def _leave(self) -> None:
        dispatchers.remove_heartbeat(self.id)
        self._commit_counts()

    def _commit_counts(self) -> None:
        outcomes.add(self.counts)
        db.session.commit()
        self.counts.clear()

    def _safely(self, step: Callable[[], T]) -> T | None:
        """What ``step`` returns; None where the database is away, which must not end the dispatcher."""
        try:
            return step()
        except DBAPIError as error:
            db.session.rollback()
            log.error("The database did not answer (%s); trying again.", type(error.orig).__name__)
            return None
