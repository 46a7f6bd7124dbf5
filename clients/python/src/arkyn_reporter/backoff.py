"""How long to wait before the next try."""

from __future__ import annotations

import random

FIRST_SECONDS = 0.5
MAX_SECONDS = 30.0
# A refused reporter asks again this often, in case its token or source is back.
REFUSED_SECONDS = 60.0


class Backoff:
    """Doubles with each failure, with jitter, so that the reporters of many processes do not come back at once."""

    def __init__(self) -> None:
        self._failures = 0

    def next_delay(self, at_least: float | None = None) -> float:
        """``at_least`` is what the service asked for: jitter comes on top of it."""
        ceiling = min(FIRST_SECONDS * 2.0 ** min(self._failures, 16), MAX_SECONDS)
        self._failures += 1
        if at_least is not None:
            return at_least + random.uniform(0, min(ceiling, 1.0))  # noqa: S311
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311

    def reset(self) -> None:
        self._failures = 0
