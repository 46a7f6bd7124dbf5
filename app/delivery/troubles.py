"""Circuit breakers of a dispatcher: webhooks and steps that failed are set aside with exponential backoff."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from app.extensions import db
from app.repositories.failures import explain, reason

log = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 600.0


@dataclass
class Trouble:
    """``times`` failures in a row; no further try before ``until``, in monotonic seconds."""

    times: int
    until: float


class Troubles:
    """Troubles by key: a webhook's id or a step's name. ``last`` describes the last failure, without secrets."""

    def __init__(self) -> None:
        self._kept: dict[str, Trouble] = {}
        self.last: str | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def has(self, key: str) -> bool:
        """Whether ``key`` is set aside now."""
        return key in self._kept and monotonic() < self._kept[key].until

    def add(self, key: str, what: str, error: Exception) -> None:
        """Set ``key`` aside for FIRST_SECONDS, doubled at each further failure up to LONGEST_SECONDS."""
        times = self._kept[key].times + 1 if key in self._kept else 1
        seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** (times - 1))
        self._kept[key] = Trouble(times, monotonic() + seconds)
        self.last = f"{what} is set aside for {seconds:g} s. {explain(error)}"
        log.error("%s All others go on.", self.last)

    @contextmanager
    def of(self, key: str, what: str) -> Iterator[None]:
        """Wrap a unit of work: roll back and set ``key`` aside if it fails, clear ``key`` if it succeeds.

        Raises only errors of the database as a whole.
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

    def run(self, step: Callable[[], T]) -> T | None:
        """Run ``step``, whose name is its key, commit, and return its result; None if it fails or is set aside."""
        name = step.__name__.strip("_")
        if self.has(name):
            return None
        done: T | None = None
        with self.of(name, f"The step {name}"):
            done = step()
            db.session.commit()
        return done

    def passed(self, keys: Iterable[str]) -> None:
        """Clear keys that succeeded."""
        for key in keys:
            self._kept.pop(key, None)

    def forgive(self) -> None:
        """Clear troubles that ended more than LONGEST_SECONDS ago."""
        now = monotonic()
        self._kept = {key: trouble for key, trouble in self._kept.items() if now < trouble.until + LONGEST_SECONDS}
