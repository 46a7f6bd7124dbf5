"""The benchmark's rows, their targets, and docs/performance.md."""

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tools.bench import load
from tools.faults.databases import POSTGRESQL, SQLITE

EMPTY, FULL = "empty", "full"
MIN_FLATNESS = 0.9
Samples = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Row:
    """A figure of a work: samples of all rounds by state, and those of B1, measured in turns with them."""

    database: str
    work: str
    unit: str
    samples: Samples
    b1: Sequence[float] = ()
    note: str = ""
    load_average: float = field(default_factory=lambda: os.getloadavg()[0])

    def value(self, state: str) -> float | None:
        return median(self.samples.get(state, ()))

    def ratio(self, state: str) -> float | None:
        """The median of each round's ratio to B1 in the same round."""
        return median(ratios(self.samples.get(state, ()), self.b1))

    @property
    def flatness(self) -> float | None:
        """The median of each round's ratio of the full to the empty database."""
        return median(ratios(self.samples.get(FULL, ()), self.samples.get(EMPTY, ())))


@dataclass(frozen=True)
class Target:
    """A target, in words and as a check of a row."""

    words: str
    is_met: Callable[[Row], bool]


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def all_medians(row: Row, is_met: Callable[[float], bool]) -> bool:
    """Whether the median of each state meets a condition."""
    return all(is_met(statistics.median(found)) for found in row.samples.values())


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    return [value / other for value, other in zip(values, others, strict=False)]


def flat_from(lowest: float) -> Target:
    """A target of at least ``lowest`` times B1, and at least MIN_FLATNESS of that in the full database."""

    def is_met(row: Row) -> bool:
        ratio, flatness = row.ratio(EMPTY) or row.ratio(FULL) or 0, row.flatness
        return ratio >= lowest and (flatness is None or flatness >= MIN_FLATNESS)

    return Target(f"≥ {lowest} × B1, full within 10 %", is_met)


def at_least(lowest: float, words: str | None = None) -> Target:
    return Target(words or f"≥ {lowest:,g}", lambda row: all_medians(row, lambda found: found >= lowest))


def at_most(highest: float) -> Target:
    return Target(f"≤ {highest:,g}", lambda row: all_medians(row, lambda found: found <= highest))


TARGETS = {
    (POSTGRESQL, "create webhook"): flat_from(0.8),
    (POSTGRESQL, "list webhooks"): flat_from(0.8),
    (POSTGRESQL, "one record, user token"): flat_from(0.7),
    (POSTGRESQL, "one record, ingest token"): flat_from(0.7),
    (POSTGRESQL, "one record with notification, user token"): flat_from(0.6),
    (POSTGRESQL, "one record with notification, ingest token"): flat_from(0.6),
    (POSTGRESQL, "batches of 500, one client"): at_least(20_000),
    (POSTGRESQL, "batches of 500, 8 clients"): at_least(30_000),
    (POSTGRESQL, "report → Discord, quiet webhook, p50"): at_most(20),
    (POSTGRESQL, "report → Discord, quiet webhook, p99"): at_most(100),
    (SQLITE, "report → Discord, quiet webhook, p50"): at_most(60),
    (SQLITE, "report → Discord, quiet webhook, p99"): at_most(200),
    (POSTGRESQL, "drain, 500 destinations, 32 connections"): at_least(0.9 * 320, "≥ 0.9 × 320"),
    (POSTGRESQL, "drain, 500 destinations, 32 connections, CPU"): at_most(1.5),
    (POSTGRESQL, "drain, 500 destinations, 100 connections"): at_least(0.9 * 1000, "≥ 0.9 × 1,000"),
    (POSTGRESQL, "drain, 500 destinations, 100 connections, CPU"): at_most(1.5),
    (POSTGRESQL, "storm of 100,000, ingested"): at_least(20_000, "the batch rate (≥ 20,000)"),
    (POSTGRESQL, "storm of 100,000, all told"): at_most(10),
    (POSTGRESQL, "storm of 100,000, largest worker"): at_most(120),
    (POSTGRESQL, "storm of 100,000, dispatcher"): at_most(100),
    (POSTGRESQL, "memory after load, worker"): at_most(120),
    (POSTGRESQL, "memory after load, dispatcher"): at_most(100),
    (POSTGRESQL, "idle dispatcher"): at_most(0.5),
}

HEADER = """\
| work | unit | wanted | met | B1 | empty | × B1 | full | × B1 | full ÷ empty | load | note |
| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"""


def line(row: Row) -> str:
    target = TARGETS.get((row.database, row.work))
    met = ("yes" if target.is_met(row) else "**no**") if target else ""
    figures = [
        number(median(row.b1)),
        number(row.value(EMPTY)),
        ratio(row.ratio(EMPTY)),
        number(row.value(FULL)),
        ratio(row.ratio(FULL)),
        ratio(row.flatness),
        f"{row.load_average:.1f}",
    ]
    cells = [row.work, row.unit, target.words if target else "", met, *figures, row.note]
    return f"| {' | '.join(cells)} |"


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def tables(rows: Sequence[Row]) -> str:
    """A Markdown table for each database."""
    databases = dict.fromkeys(row.database for row in rows)
    return "\n\n".join(
        f"## {database}\n\n" + "\n".join([HEADER, *(line(row) for row in rows if row.database == database)])
        for database in databases
    )


def document(rows: Sequence[Row], circumstances: str, failures: Sequence[str]) -> str:
    """The page as Markdown. ``failures`` name the works that could not be measured."""
    not_measured = "".join(f"**Not measured**: {failure}\n\n" for failure in failures)
    return f"""\
# How fast it is

`make bench` compares the service with two baselines under the same gunicorn settings (`WEB_CONCURRENCY=2`): **B0**, a
Flask view that parses JSON and returns a constant, and **B1**, a Flask view that checks nothing and does one
autocommitted `INSERT` through the driver. Measurements alternate (B1, empty database, full database, B1, …); each
figure is the median of its rounds, each ratio the median of the ratios within a round. `fsync` and `synchronous_commit`
are on and SQLite has `synchronous=FULL`, so that a record answered `201` is on disk. An unsuccessful answer fails the
run.

{circumstances}

{tables(rows)}

{not_measured}- **empty**: a fresh database with only the rows that the measurement needs. **full**: the same, with
  1,000,000 records, 100,000 webhooks and 100,000 settled deliveries with an attempt each, of other users.
- **1/s**: answered requests per second over 32 connections; the percentiles are those of the slowest round. **load**:
  the machine's load average at the end.
- **report → Discord**: from the sending of a report until its message arrives at the stand-in for Discord. Without
  `DIGEST_WINDOW_SECONDS=0`, events of the same webhook would wait for the digest window.
- **drain**: 3,000 pending messages of 3,000 webhooks that share 500 channels. The stand-in answers after 100 ms, so at
  most `DISPATCHER_CONNECTIONS` ÷ 100 ms are possible.
- **storm**: failing requests in batches of 500 from 8 clients, all for one webhook.

## What one implementation costs

Until commit e6b9f67, hot routes had second implementations, with calls of libpq and a worker class of this project.
Both versions, running at the same time on PostgreSQL and measured in turns on 2026-11-29, 4 to 5 rounds of 3 s; ratios
are of the medians, processor time is a worker's per request:

| work | e6b9f67 | now | ratio | p50, ms | p99, ms | worker, µs |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| create webhook | 1,448 | 1,425 | 0.98 | 21 → 20 | 55 → 71 | 919 → 1,011 |
| list webhooks | 2,026 | 1,873 | 0.92 | 15 → 15 | 34 → 65 | 737 → 860 |
| list traffic, 10 of 1,000 | 328 | 771 | 2.35 | 93 → 40 | 195 → 89 | 1,915 → 1,949 |
| list traffic, 10 of 20,000 | 246 | 407 | 1.65 | 124 → 72 | 266 → 178 | 2,159 → 2,261 |
| one record, user token | 1,359 | 1,299 | 0.94 | 22 → 21 | 58 → 88 | 987 → 1,026 |
| one record, ingest token | 1,540 | 1,472 | 0.98 | 20 → 19 | 56 → 75 | 872 → 944 |
| with notification, user token | 1,289 | 1,104 | **0.88** | 23 → 22 | 82 → 135 | 936 → 1,076 |
| with notification, ingest token | 1,261 | 1,261 | 0.99 | 24 → 22 | 59 → 96 | 934 → 1,010 |
| batches of 500, one client, records/s | 21,932 | 18,734 | **0.85** | 21 → 25 | 37 → 38 | 16,566 → 19,928 |
| batches of 500, 8 clients, records/s | 29,876 | 28,404 | 0.97 | 128 → 133 | 315 → 247 | 22,462 → 23,187 |

A report is at Discord after 18 to 21 ms (p50; 13 to 14 before) and within 83 to 268 ms (p99 of 210 reports; 58 to 71).
A worker takes 112 MB after load (99), the dispatcher 106 (99).

Bold ratios lose more than a tenth; policies, sharing and series came in the meantime. Where it goes, as far as known:

- A prepared statement takes a worker 80 µs with gevent and 41 µs without: psycopg then waits in Python, so that other
  requests go on, instead of in C. A request's deadlines and turns take 25 µs.
- Webhooks are created and listed by one statement each, which checks the rights as well. A list of traffic takes two,
  but its plan reads the rows of its page alone; it joined all records before, in both versions.
- p99 grows because a worker's requests wait for its 8 connections in no order. A fair queue before them lowers p99 by a
  quarter and the rate by 7 %, and more connections change neither, so neither is done.

## Repeating it

`make bench` takes about half an hour and writes this page. Its figures are meaningful only on an otherwise idle
machine. It uses wrk if that is installed (Debian's `wrk`), else its own client. To run a part:

```sh
.venv/bin/python -m tools.bench --only create,record --database postgresql --state empty --seconds 2
```
"""


def circumstances(databases: Sequence[str], rounds: int, seconds: float) -> str:
    """A sentence on date, machine and software; ``databases`` are names with versions."""
    software = ", ".join([f"Python {platform.python_version()}", *databases, f"load by {load.GENERATOR}"])
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} in {rounds} rounds of {seconds:g} s: "
        f"{os.cpu_count()} cores ({platform.machine()}), {software}."
    )
