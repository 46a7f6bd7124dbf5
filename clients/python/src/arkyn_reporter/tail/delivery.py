"""Delivers batches of log lines: for as long as it takes, for the lines wait in their file."""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence

from arkyn_reporter.backoff import REFUSED_SECONDS, Backoff
from arkyn_reporter.batch import Batch, build
from arkyn_reporter.log import SaidOnce, logger
from arkyn_reporter.outcome import Kind, Outcome, outcome_of
from arkyn_reporter.sender import Sender


class Delivery:
    def __init__(self, sender: Sender, service: str) -> None:
        self._sender = sender
        self._service = service
        self._backoff = Backoff()
        self._said = SaidOnce()
        self.delivered = 0
        self.rejected = 0

    def deliver(self, records: Sequence[bytes]) -> None:
        """Return once the service has accepted the records, or will never."""
        batch = build(records)
        outcome = self._try(batch)
        while outcome.kind in (Kind.RETRY, Kind.REFUSED):
            self._wait(outcome)
            outcome = self._try(batch)
        self._settle(batch, outcome)

    def _try(self, batch: Batch) -> Outcome:
        try:
            return outcome_of(self._sender.send(batch))
        except (OSError, http.client.HTTPException) as error:
            return Outcome(Kind.RETRY, type(error).__name__)

    def _wait(self, outcome: Outcome) -> None:
        verb = "refuses" if outcome.kind is Kind.REFUSED else "takes no"
        self._said.warn("down", "%s %s reports (%s). Lines wait in their files.", self._service, verb, outcome.reason)
        if outcome.kind is Kind.REFUSED:
            time.sleep(REFUSED_SECONDS)
        else:
            time.sleep(self._backoff.next_delay(outcome.retry_after))

    def _settle(self, batch: Batch, outcome: Outcome) -> None:
        self._backoff.reset()
        if self._said.clear("down"):
            logger.info("%s answers again.", self._service)
        if outcome.kind is Kind.TOO_LARGE and len(batch.records) > 1:
            for half in batch.halves():
                self.deliver(half.records)
            return
        count = len(batch.records)
        rejected = outcome.rejected if outcome.kind is Kind.DELIVERED else count
        self.delivered += count - rejected
        self.rejected += rejected
        if rejected:
            reason = outcome.example or outcome.reason
            self._said.warn("rejected", "%s rejected %d reports: %s", self._service, rejected, reason)
