"""When to try again. Pure."""

from datetime import timedelta

# Seconds before each retry: four within the first two minutes, the last about a day after the first try.
DELAYS = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, *[3600] * 22)
# How long a failing destination is left alone altogether; what is new is then tried before the next retry.
LONGEST_PAUSE = timedelta(minutes=5)
JITTER = 0.2


def next_delay(attempts: int, luck: float) -> timedelta | None:
    """How long to wait after the ``attempts``-th failure, or None where it was the last.

    ``luck`` from 0 to 1 spreads the delay by ±20 %, so that what failed together is not retried together.
    """
    if attempts > len(DELAYS):
        return None
    return timedelta(seconds=DELAYS[attempts - 1] * (1 + JITTER * (2 * luck - 1)))
