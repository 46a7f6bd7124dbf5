"""The package's log. No line holds a token, a header, a body or a query string."""

from __future__ import annotations

import logging

logger = logging.getLogger("arkyn_reporter")


class SaidOnce:
    """Warns once per topic, and again only after the topic was cleared."""

    def __init__(self) -> None:
        self._topics: set[str] = set()

    def warn(self, topic: str, message: str, *values: object) -> None:
        if topic not in self._topics:
            self._topics.add(topic)
            logger.warning(message, *values)

    def clear(self, topic: str) -> bool:
        """Forget the topic; returns whether it was warned of."""
        if topic not in self._topics:
            return False
        self._topics.discard(topic)
        return True
