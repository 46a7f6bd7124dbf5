"""The retry schedule, with jitter. Pure."""

from collections.abc import Sequence
from datetime import timedelta

# Seconds before each retry: four within the first two minutes, the last about a day after the first try.
DELAYS_SECONDS = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, *[3600] * 22)
# A notice is retried as often as its destination may be, for a day, since those that follow it wait for it.
NOTICE_DELAYS_SECONDS = (*DELAYS_SECONDS[:5], *[300] * 288)
# The longest pause of a failing destination; new messages are then tried before the next retry.
LONGEST_PAUSE = timedelta(minutes=5)
MAX_JITTER = 0.2


def next_delay(attempts: int, jitter: float, delays: Sequence[int] = DELAYS_SECONDS) -> timedelta | None:
    """The delay after the ``attempts``-th failure; None if it was the last attempt.

    ``jitter``, from 0 to 1, spreads the delay by ±20 %, so that messages that failed together are retried apart.
    """
    if attempts > len(delays):
        return None
    return timedelta(seconds=delays[attempts - 1] * (1 + MAX_JITTER * (2 * jitter - 1)))
