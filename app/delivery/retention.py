"""How long things are kept, and the purging of what is older, or was deleted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from app.models.columns import NO_ID
from app.repositories import purging

# Younger places may be waiting for the first record that is about to be stored.
PLACE_AGE = timedelta(hours=1)


@dataclass
class Retention:
    """``records`` and settled ``deliveries`` are deleted after so long; what waits for a suspended webhook is
    discarded after ``waiting``."""

    records: timedelta
    deliveries: timedelta
    waiting: timedelta
    # Behind which the slow walks through all places and destinations go on.
    _place: str = field(default=NO_ID, init=False)
    _destination: str = field(default="", init=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(
            records=timedelta(days=config["TRAFFIC_RETENTION_DAYS"]),
            deliveries=timedelta(days=config["DELIVERY_RETENTION_DAYS"]),
            waiting=timedelta(days=config["PENDING_RETENTION_DAYS"]),
        )

    def steps(self, now: datetime) -> Sequence[Callable[[], int]]:
        """Each purges a bite of one kind, does not commit, and returns how many rows; 0 where nothing is left.

        Raises nothing of its own; each is to be called, and may fail, by itself.
        """

        def purge_records() -> int:
            return purging.purge_records(now - self.records)

        def purge_deliveries() -> int:
            return purging.purge_deliveries(now - self.deliveries)

        def discard_waiting() -> int:
            reason = f"Its webhook was suspended for more than {self.waiting.days} days."
            return purging.discard_waiting(now - self.waiting, reason)

        def purge_unused() -> int:
            self._place = purging.purge_unused_places(self._place, now - PLACE_AGE)
            self._destination = purging.purge_unused_destinations(self._destination, now)
            return 0

        return (
            discard_waiting,
            purge_deliveries,
            purge_records,
            purging.purge_deleted_webhooks,
            purging.purge_deleted_sources,
            purge_unused,
        )

    def count_purgeable(self, now: datetime) -> int:
        return purging.count_purgeable(now - self.records, now - self.deliveries)
