"""Says now and then how far a long reading is."""

from __future__ import annotations

import time

from arkyn_reporter.log import logger

EVERY_SECONDS = 5.0
# Whoever is less far behind is up to date in no time.
WORTH_A_LINE_BYTES = 1024 * 1024


class Progress:
    def __init__(self) -> None:
        self._lines = 0
        self._said_lines = 0
        self._said_at = time.monotonic()

    def note(self, lines: int, left: int, total: int) -> None:
        self._lines += lines
        now = time.monotonic()
        if now - self._said_at < EVERY_SECONDS:
            return
        if left > WORTH_A_LINE_BYTES:
            speed = (self._lines - self._said_lines) / (now - self._said_at)
            share = 100 * (total - left) / total
            logger.info("%.0f %% read: %s lines, %s a second.", share, f"{self._lines:,}", f"{speed:,.0f}")
        self._said_at, self._said_lines = now, self._lines
