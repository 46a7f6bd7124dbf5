"""Counts new records in the series, as a step of upkeep."""

from app.repositories import arrivals, series_points
from app.repositories.arrivals import Horizon

# Records of one transaction, during which nothing is sent. They may lie in as many minutes, each with a point for each
# span.
BATCH_SIZE = 300
# Attempts to get the lock before a pause.
REFUSALS = 10


class Counting:
    """Counts what arrived. Any number of dispatchers may do so: one at a time gets the lock."""

    def __init__(self) -> None:
        self._horizon = Horizon(0, frozenset())
        self._refused = 0

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
        if counted_to >= self._horizon.arrival or not arrivals.is_settled(self._horizon):
            return 0
        counted = series_points.count(counted_to, self._horizon.arrival, BATCH_SIZE)
        return counted if counted == BATCH_SIZE else 0
