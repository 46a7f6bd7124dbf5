"""The background thread of one process: gathers reports into batches, and sends each until its outcome is known.

Everything here belongs to one process. A fork gets a new ``Worker``, with an empty queue: what waited in the parent is
the parent's to send. Thread and primitives are made with the first report, for gevent may patch ``threading`` only
after the application was loaded.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from typing import Callable

from arkyn_reporter.backoff import REFUSED_SECONDS, Backoff
from arkyn_reporter.batch import MAX_BYTES, MAX_RECORDS, Batch, build, encode_all
from arkyn_reporter.buffer import Counts, ReportQueue
from arkyn_reporter.log import SaidOnce, logger
from arkyn_reporter.outcome import Kind, Outcome, outcome_of
from arkyn_reporter.report import Report
from arkyn_reporter.sender import Sender

BATCH_SECONDS = 1.0


class Worker:
    def __init__(self, sender: Sender, encode: Callable[[Report], bytes], max_queue_bytes: int, service: str) -> None:
        self._sender = sender
        self._encode = encode
        self._service = service
        self._queue = ReportQueue(max_queue_bytes)
        self._start_lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._wake: queue.SimpleQueue[None]
        self._gathering_since: float | None = None
        self._urgent = False
        self._hurried = False
        self._flushes: list[tuple[int, threading.Event]] = []
        self._backoff = Backoff()
        self._said = SaidOnce()

    # On the request's way.

    def put(self, report: Report, size: int) -> None:
        if not self._queue.put(report, size):
            return
        if self._thread is None:
            self._start()
        if report.is_fatal or len(self._queue) >= MAX_RECORDS:
            if not self._urgent:
                self._urgent = True
                self._wake.put(None)
        elif self._gathering_since is None:
            self._gathering_since = time.monotonic()
            self._wake.put(None)

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._wake = queue.SimpleQueue()
                thread = threading.Thread(target=self._run, name="arkyn-reporter", daemon=True)
                thread.start()
                self._thread = thread

    # Anywhere but on the request's way.

    def counts(self) -> Counts:
        return self._queue.counts()

    def flush(self, timeout: float) -> bool:
        """Send what waits now. Returns whether the outcome of all of it is known within ``timeout`` seconds."""
        target = self._queue.queued_count
        if self._queue.settled_count >= target:
            return True
        if self._thread is None:
            # No thread can be started once the interpreter shuts down.
            return self._flush_here(time.monotonic() + timeout)
        done = threading.Event()
        self._flushes.append((target, done))
        self._hurried = True
        self._wake.put(None)
        # The outcome may have become known before the thread could see this flush.
        if self._queue.settled_count < target:
            done.wait(timeout)
        return self._queue.settled_count >= target

    def _flush_here(self, deadline: float) -> bool:
        while len(self._queue) and time.monotonic() < deadline:
            batch, size = self._next_batch()
            outcome = self._try(batch)
            if outcome.kind is Kind.RETRY:
                self._queue.settle(size, dropped=len(batch.records))
                return False
            self._settle(batch, size, outcome)
        return not len(self._queue)

    # In the thread.

    def _run(self) -> None:
        with suppress(Exception):
            self._sender.look_up()
        while True:
            try:
                self._wait_until_due()
                self._send_next()
            except Exception as error:
                self._said.warn("broken", "The reporter failed by itself: %r. It goes on.", error)
                time.sleep(BATCH_SECONDS)

    def _wait_until_due(self) -> None:
        while True:
            delay = self._due_in()
            if delay is not None and delay <= 0:
                return
            self._sleep(delay)

    def _due_in(self) -> float | None:
        """Seconds until the next batch is to be sent; None while nothing waits."""
        if not len(self._queue):
            self._gathering_since = None
            self._urgent = self._hurried = False
            # A report that came between the two looks may have woken nobody, and may be fatal.
            return 0.0 if len(self._queue) else None
        if self._urgent or self._hurried or len(self._queue) >= MAX_RECORDS:
            return 0.0
        since = self._gathering_since
        if since is None:
            since = self._gathering_since = time.monotonic()
        return since + BATCH_SECONDS - time.monotonic()

    def _sleep(self, seconds: float | None) -> None:
        """Until something happens, or time is up."""
        with suppress(queue.Empty):
            self._wake.get(timeout=seconds)

    def _send_next(self) -> None:
        self._urgent = False
        self._gathering_since = time.monotonic()
        batch, size = self._next_batch()
        try:
            self._deliver(batch, size)
        except Exception:
            self._queue.settle(size, dropped=len(batch.records))
            raise
        finally:
            self._tell_flushes()

    def _next_batch(self) -> tuple[Batch, int]:
        reports, size = self._queue.take(MAX_RECORDS, MAX_BYTES)
        records, unusable = encode_all(reports, self._encode)
        if unusable:
            self._queue.settle(0, dropped=unusable)
            self._said.warn("unusable", "%d reports hold what cannot be reported, and are dropped.", unusable)
        return build(records, self._queue.take_unannounced()), size

    def _deliver(self, batch: Batch, size: int) -> None:
        """Try until the batch is accepted or refused."""
        if not batch.records:
            self._queue.return_unannounced(batch.dropped)
            self._queue.settle(size)
            return
        outcome = self._try(batch)
        while outcome.kind is Kind.RETRY:
            self._pause(self._backoff.next_delay(outcome.retry_after), asked=outcome.retry_after is not None)
            outcome = self._try(batch)
        self._settle(batch, size, outcome)
        if outcome.kind is Kind.REFUSED:
            self._tell_flushes()
            self._pause(REFUSED_SECONDS, asked=False)

    def _try(self, batch: Batch) -> Outcome:
        try:
            outcome = outcome_of(self._sender.send(batch))
        except Exception as error:
            outcome = Outcome(Kind.RETRY, type(error).__name__)
        self._say(batch, outcome)
        return outcome

    def _pause(self, seconds: float, asked: bool) -> None:
        """Wait; a flush cuts it short, unless the service asked for it."""
        self._hurried = False
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and (asked or not self._hurried):
            self._sleep(left)

    def _settle(self, batch: Batch, size: int, outcome: Outcome) -> None:
        count = len(batch.records)
        if outcome.kind is Kind.DELIVERED:
            self._backoff.reset()
            self._queue.settle(size, delivered=count - outcome.rejected, rejected=outcome.rejected)
        elif outcome.kind is Kind.TOO_LARGE and count > 1:
            self._deliver_halves(batch, size)
        elif outcome.kind in (Kind.UNUSABLE, Kind.TOO_LARGE):
            self._queue.return_unannounced(batch.dropped)
            self._queue.settle(size, rejected=count)
        else:
            self._queue.return_unannounced(batch.dropped)
            self._queue.settle(size, dropped=count)

    def _deliver_halves(self, batch: Batch, size: int) -> None:
        first, second = batch.halves()
        self._deliver(first, 0)
        self._deliver(second, size)

    def _tell_flushes(self) -> None:
        settled = self._queue.settled_count
        for flush in list(self._flushes):
            if flush[0] <= settled:
                self._flushes.remove(flush)
                flush[1].set()

    def _say(self, batch: Batch, outcome: Outcome) -> None:
        if outcome.kind is Kind.RETRY:
            self._said.warn("down", "%s takes no reports (%s). They wait.", self._service, outcome.reason)
            return
        if self._said.clear("down"):
            logger.info("%s answers again.", self._service)
            self._said.clear("dropped")
        if outcome.kind is Kind.DELIVERED:
            self._said.clear("refused")
            if batch.dropped:
                self._said.warn(
                    "dropped", "%d reports were dropped meanwhile. The service knows how many.", batch.dropped
                )
        else:
            self._said.warn("refused", "%s refuses reports: %s. They are dropped.", self._service, outcome.reason)
        if outcome.rejected:
            self._said.warn("rejected", "%s rejected %d reports: %s", self._service, outcome.rejected, outcome.example)
