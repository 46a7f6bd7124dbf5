"""What a dispatcher sets aside because it failed: webhooks and steps, each for a while, so that all others go on."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from app.extensions import db
from app.repositories.failures import explain, reason

log = logging.getLogger(__name__)

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 600.0


@dataclass
class Trouble:
    """Failed for ``times`` in a row, and is not tried before ``until`` (monotonic seconds)."""

    times: int
    until: float


class Troubles:
    """By key: a webhook's id, or a step's name. ``last`` is what the last failure was, fit to be shown."""

    def __init__(self) -> None:
        self._kept: dict[str, Trouble] = {}
        self.last: str | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def has(self, key: str) -> bool:
        """Whether this is not to be tried now."""
        return key in self._kept and monotonic() < self._kept[key].until

    def add(self, key: str, what: str, error: Exception) -> None:
        """Set ``key`` aside: for ten seconds, and each time it fails again twice as long, up to ten minutes."""
        times = self._kept[key].times + 1 if key in self._kept else 1
        seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** (times - 1))
        self._kept[key] = Trouble(times, monotonic() + seconds)
        self.last = f"{what} is set aside for {seconds:g} s. {explain(error)}"
        log.error("%s All others go on.", self.last)

    @contextmanager
    def of(self, key: str, what: str) -> Iterator[None]:
        """Around something that may fail: a failure is rolled back and set aside, and what passes is in no trouble.

        Raises only where the database is away.
        """
        try:
            yield
        except Exception as error:
            db.session.rollback()
            if reason(error):
                raise
            self.add(key, what, error)
        else:
            self.passed([key])

    def passed(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._kept.pop(key, None)

    def forgive(self) -> None:
        """Forget what did not fail again, or was not tried any more, for ten minutes."""
        now = monotonic()
        self._kept = {key: trouble for key, trouble in self._kept.items() if now < trouble.until + LONGEST_SECONDS}
