"""Counts new records in the series, as a step of upkeep."""

from time import monotonic

from app.repositories import arrivals, series_points
from app.repositories.arrivals import Horizon

# Records of one transaction, during which nothing is sent; the size adapts until a transaction takes BATCH_SECONDS.
# BATCH_SIZE suits records that lie in a minute each, with a point for each span; of few minutes, LARGEST_BATCH take as
# long. A larger batch helps on SQLite, where a busy reporter holds the write lock most of the time.
BATCH_SIZE = 300
LARGEST_BATCH = 9_600
BATCH_SECONDS = 0.03
# Attempts to get the lock of the position before a pause.
REFUSALS = 10


class Counting:
    """Counts what arrived. Any number of dispatchers may do so: one at a time gets the lock."""

    def __init__(self) -> None:
        self._horizon = Horizon(0, frozenset())
        self._refused = 0
        self._size = BATCH_SIZE

    def count_series(self) -> int:
        """Count a batch; does not commit. Returns its number of records, and 0 if there is no other batch to count.

        Records and position change in one transaction, so a killed dispatcher leaves no record counted twice or never.
        """
        counted_to = series_points.lock_position()
        if counted_to is None:
            self._refused += 1
            return int(self._refused % REFUSALS > 0)  # Try again soon: others hold the lock only for a moment.
        if counted_to >= self._horizon.arrival:
            self._horizon = arrivals.horizon()
        if counted_to >= self._horizon.arrival or not arrivals.is_complete(self._horizon):
            return 0
        began, size = monotonic(), self._size
        counted = series_points.count(counted_to, self._horizon.arrival, size)
        if counted < size:
            return 0
        is_fast = monotonic() - began < BATCH_SECONDS
        self._size = min(2 * size, LARGEST_BATCH) if is_fast else max(size // 2, BATCH_SIZE)
        return counted
