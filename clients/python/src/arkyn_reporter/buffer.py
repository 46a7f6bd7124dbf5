"""Reports that wait to be sent, bounded in bytes.

What is taken stays on the bill until it is settled, so that the bound covers what is being sent, too. The lock is
reentrant and never held across anything that blocks: a signal handler or a greenlet may report at any moment.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from arkyn_reporter.report import Report

# Reports of other levels leave the last fifth to the fatal ones.
SHARE_FOR_ALL = 0.8


class Counts(NamedTuple):
    """What became of the reports of this process: ``reported`` is the sum of the others."""

    reported: int
    delivered: int
    rejected: int
    dropped: int
    waiting: int


class ReportQueue:
    def __init__(self, max_bytes: int) -> None:
        self._reports: deque[tuple[Report, int]] = deque()
        self._lock = threading.RLock()
        self._max_bytes = max_bytes
        self._max_bytes_for_all = int(max_bytes * SHARE_FOR_ALL)
        self._bytes = 0
        self._reported = self._queued = self._delivered = self._rejected = self._dropped = self._settled = 0
        self._unannounced = 0

    def __len__(self) -> int:
        return len(self._reports)

    def put(self, report: Report, size: int) -> bool:
        """Returns False where the queue is full: the report is dropped, and counted."""
        limit = self._max_bytes if report.is_fatal else self._max_bytes_for_all
        with self._lock:
            self._reported += 1
            if self._bytes + size > limit:
                self._dropped += 1
                self._unannounced += 1
                return False
            self._bytes += size
            self._queued += 1
            self._reports.append((report, size))
        return True

    def take(self, max_reports: int, max_bytes: int) -> tuple[list[Report], int]:
        """The oldest reports, and their size: at least one if there is any."""
        reports: list[Report] = []
        taken = 0
        with self._lock:
            while self._reports and len(reports) < max_reports and (not reports or taken < max_bytes):
                report, size = self._reports.popleft()
                reports.append(report)
                taken += size
        return reports, taken

    def settle(self, size: int, delivered: int = 0, rejected: int = 0, dropped: int = 0) -> None:
        """Write down what became of reports that were taken."""
        with self._lock:
            self._bytes -= size
            self._delivered += delivered
            self._rejected += rejected
            self._dropped += dropped
            self._unannounced += dropped
            self._settled += delivered + rejected + dropped

    def take_unannounced(self) -> int:
        """How many were dropped that the service was not told of: the next batch tells it."""
        with self._lock:
            count, self._unannounced = self._unannounced, 0
        return count

    def return_unannounced(self, count: int) -> None:
        """The batch that was to tell the service did not reach it."""
        with self._lock:
            self._unannounced += count

    @property
    def queued_count(self) -> int:
        """How many reports were ever queued; the first ``settled_count`` of them are settled."""
        return self._queued

    @property
    def settled_count(self) -> int:
        return self._settled

    def counts(self) -> Counts:
        with self._lock:
            waiting = self._queued - self._settled
            return Counts(self._reported, self._delivered, self._rejected, self._dropped, waiting)
