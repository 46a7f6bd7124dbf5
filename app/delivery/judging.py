"""Judges the webhooks whose events gather for a threshold: some in each round, in turns."""

from collections.abc import Callable, Sequence
from datetime import datetime

from app.models.columns import NO_ID
from app.repositories import policies

# Webhooks that are judged in one round.
JUDGED_AT_ONCE = 50


class Judging:
    """Goes round the webhooks by id, so that none waits for many others. ``has_more``: not all found are chosen."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.chosen: list[str] = []
        self.has_more = False
        self._last = NO_ID

    def choose(self, found: Sequence[str]) -> None:
        """Choose the next JUDGED_AT_ONCE of the webhooks that a scan ``found``."""
        later = sorted(webhook_id for webhook_id in found if webhook_id > self._last)
        self.chosen = later[:JUDGED_AT_ONCE] or sorted(found)[:JUDGED_AT_ONCE]
        self._last = self.chosen[-1] if self.chosen else NO_ID
        self.has_more = len(found) > len(self.chosen)

    def judge_held(self) -> bool:
        """Judge the chosen webhooks. Returns whether events of some may be sent now. Does not commit."""
        return policies.judge_held(self.chosen, self.clock())
