"""Retention: the steps that purge old rows and the rows of deleted webhooks and sources."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from app.models.columns import NO_ID
from app.repositories import purging, seen_kinds

# A younger pathname may have been created for a record that is about to be stored.
MIN_PLACE_AGE = timedelta(hours=1)


@dataclass
class Retention:
    """Ages at which ``records``, settled ``deliveries`` and the points of ``series`` are deleted.

    Deliveries of a suspended webhook are discarded at the age ``waiting``.
    """

    records: timedelta
    deliveries: timedelta
    waiting: timedelta
    series: timedelta
    # Keyset positions of the walks through all pathnames and destinations.
    _place: str = field(default=NO_ID, init=False)
    _destination: str = field(default="", init=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(
            records=timedelta(days=config["TRAFFIC_RETENTION_DAYS"]),
            deliveries=timedelta(days=config["DELIVERY_RETENTION_DAYS"]),
            waiting=timedelta(days=config["PENDING_RETENTION_DAYS"]),
            series=timedelta(days=config["SERIES_RETENTION_DAYS"]),
        )

    def steps(self, now: datetime) -> Sequence[Callable[[], int]]:
        """The steps: each purges a batch, does not commit, and returns its number of rows; 0 if none is left.

        Run each in its own transaction, so that one that fails does not hinder the others.
        """

        def purge_records() -> int:
            return purging.purge_records(now - self.records)

        def purge_deliveries() -> int:
            return purging.purge_deliveries(now - self.deliveries)

        def purge_series() -> int:
            return purging.purge_series(now - self.series)

        def forget_kinds() -> int:
            return seen_kinds.purge(now - seen_kinds.REMEMBERED_FOR)

        def discard_waiting() -> int:
            reason = f"Its webhook was suspended for more than {self.waiting.days} days."
            return purging.discard_waiting(now - self.waiting, reason)

        def purge_unused() -> int:
            self._place = purging.purge_unused_places(self._place, now - MIN_PLACE_AGE)
            self._destination = purging.purge_unused_destinations(self._destination, now)
            return 0

        return (
            discard_waiting,
            forget_kinds,
            purge_deliveries,
            purge_records,
            purge_series,
            purging.purge_deleted_webhooks,
            purging.purge_deleted_sources,
            purge_unused,
        )

    def count_purgeable(self, now: datetime) -> int:
        return purging.count_purgeable(now - self.records, now - self.deliveries)
