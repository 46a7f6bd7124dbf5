"""Latencies counted in buckets, which add up over minutes, and percentiles of them. Pure."""

from bisect import bisect_right
from collections import Counter

import orjson

BUCKETS_PER_DECADE = 24
# The bounds between buckets, in milliseconds: 0.1 ms to 10,000 s, each 10 % above the one before, so that a percentile
# is at most 10 % off.
BOUNDS = tuple(10 ** (exponent / BUCKETS_PER_DECADE) for exponent in range(-24, 7 * 24 + 1))
# Each bucket lies between two successive edges, in milliseconds.
EDGES = (0.0, *BOUNDS, BOUNDS[-1])


def bucket(milliseconds: float) -> int:
    """The number of the bucket: 0 below the first bound, ``len(BOUNDS)`` from the last bound on."""
    return bisect_right(BOUNDS, milliseconds)


def percentile(counts: Counter[int], percent: int) -> float | None:
    """The smallest latency that ``percent`` of all do not exceed, interpolated in its bucket; None if there is none."""
    rank = -(-counts.total() * percent // 100)
    for number, within in sorted(counts.items()):
        if rank <= within:
            low, high = EDGES[number], EDGES[number + 1]
            return round(low + (high - low) * (rank - 0.5) / within, 3)
        rank -= within
    return None


def dumps(counts: Counter[int]) -> str:
    """JSON: bucket, count, bucket, count, …"""
    return orjson.dumps([value for item in sorted(counts.items()) for value in item]).decode()


def add_json(counts: Counter[int], text: str) -> None:
    """Add what ``dumps`` returned."""
    values = iter(orjson.loads(text))
    for number, more in zip(values, values, strict=True):
        counts[number] += more
