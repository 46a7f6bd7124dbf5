"""A batch: records as one gzipped JSON array. It is made once, so that each try sends the same bytes."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable, NamedTuple, TypeVar

from arkyn_reporter.report import Report

MAX_RECORDS = 1_000
MAX_BYTES = 4 * 1024 * 1024
GZIP = 31
LEVEL = 3
# After so many records the other threads, or greenlets, get their turn.
RECORDS_PER_TURN = 20

T = TypeVar("T")


class Batch(NamedTuple):
    records: Sequence[bytes]
    payload: bytes
    # Reports that were dropped before this batch, which tells the service of them.
    dropped: int = 0

    def halves(self) -> tuple[Batch, Batch]:
        middle = len(self.records) // 2
        return build(self.records[:middle], self.dropped), build(self.records[middle:])


def build(records: Sequence[bytes], dropped: int = 0) -> Batch:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    parts = [packer.compress(b"[")]
    for index, record in enumerate(in_turns(records)):
        parts.append(packer.compress(b"," + record if index else record))
    parts += [packer.compress(b"]"), packer.flush()]
    return Batch(records, b"".join(parts), dropped)


def encode_all(reports: Iterable[Report], encode: Callable[[Report], bytes]) -> tuple[list[bytes], int]:
    """The records of the reports, and how many reports no record could be made of.

    Where something in a report is no JSON, or too large, the rest of it is reported: it may be what causes an alarm.
    """
    records: list[bytes] = []
    unusable = 0
    for report in in_turns(reports):
        try:
            records.append(_encode(report, encode))
        except Exception:
            unusable += 1
    return records, unusable


def _encode(report: Report, encode: Callable[[Report], bytes]) -> bytes:
    try:
        return encode(report)
    except Exception:
        return encode(report.bare())


def in_turns(items: Iterable[T]) -> Iterator[T]:
    """The items, with a pause of no length now and then: under gevent nothing else would let the requests go on."""
    for index, item in enumerate(items, 1):
        yield item
        if index % RECORDS_PER_TURN == 0:
            time.sleep(0)
