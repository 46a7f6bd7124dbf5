"""Upkeep: counts series, closes incidents, reminds, evaluates alerts and purges, beside the sending of messages."""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic

from app.delivery import alerting
from app.delivery.counting import Counting
from app.delivery.retention import Retention
from app.delivery.troubles import Troubles
from app.extensions import db
from app.repositories import incidents

PAUSE_SECONDS = 5.0
# The time that a step which goes on batch after batch takes in one round, during which nothing is sent.
ROUND_SECONDS = 0.1


class Upkeep:
    """Steps that go on in the next round while one of them leaves something to do: ``is_behind``.

    Each step runs in its own transaction; one that fails is set aside among the dispatcher's ``troubles``.
    """

    def __init__(
        self,
        retention: Retention,
        recovery_after: timedelta | None,
        clock: Callable[[], datetime],
        troubles: Troubles,
    ) -> None:
        self.retention = retention
        self.recovery_after = recovery_after
        self.clock = clock
        self.troubles = troubles
        self.counting = Counting()
        # In monotonic seconds.
        self.next_at = 0.0
        self.is_behind = False

    def run_if_due(self) -> None:
        """Run all steps, at most half of the time; after a round that left nothing to do, pause for PAUSE_SECONDS."""
        began = monotonic()
        if began < self.next_at:
            return
        steps = [self._count_series, self._close_incidents, self._remind, self._evaluate_alerts]
        steps += self.retention.steps(self.clock())
        self.is_behind = any([self.troubles.run(step) for step in steps])  # noqa: C419
        self.next_at = monotonic() + (monotonic() - began if self.is_behind else PAUSE_SECONDS)

    def seconds_left(self) -> float:
        """Seconds until the next round."""
        return max(0.0, self.next_at - monotonic())

    def _count_series(self) -> int:
        """Count for about ROUND_SECONDS, and commit each batch. Returns 0 if nothing is left to count."""
        deadline = monotonic() + ROUND_SECONDS
        while counted := self.counting.count_series():
            db.session.commit()
            if monotonic() > deadline:
                break
        return counted

    def _close_incidents(self) -> int:
        """Close incidents that are over, for about ROUND_SECONDS. Returns 1 if more may be over, else 0."""
        quiet_for, deadline = self.recovery_after or incidents.QUIET, monotonic() + ROUND_SECONDS
        over = incidents.list_over(self.clock(), quiet_for)
        for webhook_id in over:
            if not self.troubles.has(webhook_id):
                with self.troubles.of(webhook_id, f"Webhook {webhook_id}"):
                    incidents.close(webhook_id, self.clock(), quiet_for, is_told=bool(self.recovery_after))
                    db.session.commit()
            if monotonic() > deadline:
                return 1
        return int(len(over) == incidents.BATCH_SIZE)

    def _remind(self) -> int:
        return int(incidents.remind(self.clock()) == incidents.BATCH_SIZE)

    def _evaluate_alerts(self) -> int:
        return alerting.evaluate_due(self.clock(), self.troubles, ROUND_SECONDS)
