"""How long things are kept, and the purging of what is older."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from app.repositories import retention


@dataclass(frozen=True)
class Retention:
    """``records`` and settled ``deliveries`` are deleted after so long; what waits for a suspended webhook is
    discarded after ``waiting``."""

    records: timedelta
    deliveries: timedelta
    waiting: timedelta

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(
            records=timedelta(days=config["TRAFFIC_RETENTION_DAYS"]),
            deliveries=timedelta(days=config["DELIVERY_RETENTION_DAYS"]),
            waiting=timedelta(days=config["PENDING_RETENTION_DAYS"]),
        )

    def purge_bite(self, now: datetime) -> int:
        """Purge a little of each kind. Returns how many rows; 0 means that there is nothing left to purge."""
        reason = f"Its webhook was suspended for more than {self.waiting.days} days."
        steps: tuple[Callable[[], int], ...] = (
            lambda: retention.discard_waiting(now - self.waiting, reason),
            lambda: retention.purge_deliveries(now - self.deliveries),
            lambda: retention.purge_records(now - self.records),
        )
        return sum(step() for step in steps)

    def count_purgeable(self, now: datetime) -> int:
        return retention.count_purgeable(now - self.records, now - self.deliveries)
