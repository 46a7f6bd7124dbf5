"""``python -m tools.bench.large``: how inserting, listing and purging slow down as stored records grow, on PostgreSQL.

Grows one database from 10⁵ to 10⁷ records, which takes a quarter of an hour and 20 GB of disk, and measures each work
at each size. No dispatcher runs. The measured client sends one request at a time.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import psutil
import urllib3
from sqlalchemy import Engine, text

from tools.bench import seeding
from tools.bench.servers import SETTINGS, http_pool
from tools.bench.works.deliveries import cpu_seconds
from tools.faults.databases import POSTGRESQL, Database, databases
from tools.faults.scenario import Service
from tools.processes import FLASK, workers_of
from tools.story import Client, json_of, record

SIZES = (100_000, 1_000_000, 10_000_000)
SOURCES = 1000
DAYS = 10
# Of one source, so that its lists count as many records at each size.
LISTED = 10_000
RECORDS, BATCHES, BATCH, LISTS = 300, 30, 500, 30
PURGE_SECONDS = 3600.0
# Rows like those of tools.story.record with a ``reportId``, spread evenly over places and over the last DAYS days.
FILL = f"""
INSERT INTO http_traffic_records (
    id, created_at, traffic_source_id, pathname_id, status, level, protocol, method, elapsed_time, request_id,
    response_id, request_headers, request_body, query_params, response_headers, response_body, report_id
)
SELECT (lpad(to_hex(ms), 12, '0') || '7' || substr(noise, 1, 3) || '8' || substr(noise, 4, 15))::uuid,
    to_timestamp(ms / 1000.0), places.source_id, places.pathname_id, status,
    CASE WHEN status >= 500 THEN 'fatal' WHEN status >= 400 THEN 'warning' ELSE 'info' END,
    'https', 'get', n % 997, gen_random_uuid(), gen_random_uuid(),
    '{{"accept": "application/json"}}', '', '{{"page": "1"}}', '{{"content-type": "application/json"}}', '',
    gen_random_uuid()::text
FROM (
    SELECT n, md5(n::text || clock_timestamp()::text) AS noise,
        (extract(epoch FROM now()) * 1000 - {DAYS * 86_400_000}::bigint * (1 - n::float / :rows))::bigint AS ms,
        (ARRAY[200, 200, 200, 200, 201, 204, 302, 404, 500, 503])[1 + n % 10] AS status
    FROM generate_series(1, :rows) AS n
) AS numbers JOIN places ON places.number = n % :places
"""
SIZE = "SELECT pg_table_size('http_traffic_records'), pg_indexes_size('http_traffic_records')"


@dataclass(frozen=True)
class Cost:
    """Median milliseconds of one request; bytes of WAL, and CPU milliseconds of PostgreSQL and API, of one record."""

    milliseconds: float
    wal: float = 0.0
    postgresql: float = 0.0
    api: float = 0.0


class Large:
    """The growing database, and the service over it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.service = Service(folder, SETTINGS | {"DATABASE_URL": database.url, "EMBEDDED_DISPATCHER": "false"})
        self.service.migrate()
        self.gunicorn = self.service.serve("/healthz", WEB_CONCURRENCY="1")
        self.engine: Engine = database.engine
        self.client: Client = self.service.client.sign_up("ana@example.com")
        self.stored = 0
        self.sources = seeding.add_sources(self.engine, json_of(self.client.get("/user"))["id"], SOURCES)
        self.listed = seeding.add_sources(self.engine, json_of(self.client.get("/user"))["id"], 1)
        self._add_places("places", self.sources)
        self._add_places("listed", self.listed)

    def _add_places(self, table: str, sources: list[str]) -> None:
        with self.engine.begin() as connection:
            pairs = seeding.add_pathnames(connection, sources)
            connection.execute(text(f"CREATE TABLE {table} (number int PRIMARY KEY, source_id uuid, pathname_id uuid)"))
            rows = [{"n": n, "source": source, "path": path} for n, (source, path) in enumerate(pairs)]
            connection.execute(text(f"INSERT INTO {table} VALUES (:n, :source, :path)"), rows)

    def grow(self, size: int) -> None:
        """Store records until there are ``size``. All of them count as counted in the series."""
        if not self.stored:
            self._fill("listed", LISTED, seeding.PATHS)
        self._fill("places", size - self.stored, SOURCES * seeding.PATHS)
        with self.engine.begin() as connection:
            connection.execute(text("DELETE FROM series_position"))
            connection.execute(text("INSERT INTO series_position SELECT 1, max(arrival) FROM http_traffic_records"))
        self.stored = size
        seeding.tidy(self.engine)

    def _fill(self, table: str, rows: int, places: int) -> None:
        with self.engine.begin() as connection:
            # Without the check of foreign keys, which takes most of the time.
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            fill = text(FILL.replace("JOIN places", f"JOIN {table} AS places"))
            connection.execute(fill, {"rows": rows, "places": places})

    @cached_property
    def pool(self) -> urllib3.HTTPConnectionPool:
        return http_pool(self.service.server.url, 1)

    def request(self, method: str, path: str, body: Any = None) -> float:
        """Milliseconds until the answer."""
        headers = {"Authorization": f"Bearer {self.client.token}", "Content-Type": "application/json"}
        began = time.perf_counter()
        answer = self.pool.request(method, path, body=body and orjson.dumps(body), headers=headers)
        took = (time.perf_counter() - began) * 1000
        assert answer.status < 300, answer.data
        return took

    def insert(self, requests: int, batch: int) -> Cost:
        """Report to random sources, whose pages of the indexes are seldom in PostgreSQL's own cache."""
        before = self._cpu()
        milliseconds = statistics.median(self._report(batch) for _ in range(requests))
        postgresql, api = (after - earlier for after, earlier in zip(self._cpu(), before, strict=True))
        records = requests * batch
        return Cost(milliseconds, self._wal(requests, batch), postgresql / records * 1000, api / records * 1000)

    def _report(self, batch: int) -> float:
        reports = [
            record(pathnameUrl=f"/orders/{random.randrange(seeding.PATHS)}", reportId=str(uuid.uuid4()))
            for _ in range(batch)
        ]
        path = f"/http-traffic-records/{random.choice(self.sources)}"
        return self.request("POST", f"{path}/batch", reports) if batch > 1 else self.request("POST", path, reports[0])

    def _wal(self, requests: int, batch: int) -> float:
        """Bytes of WAL of one record, but for whole pages, whose number depends on the time between checkpoints."""
        configure(self.engine, "full_page_writes = off")
        before = self._wal_position()
        for _ in range(requests):
            self._report(batch)
        written = self._wal_position() - before
        configure(self.engine, "full_page_writes = on")
        return written / (requests * batch)

    def _wal_position(self) -> float:
        with self.engine.connect() as connection:
            return float(connection.scalar(text("SELECT pg_current_wal_insert_lsn() - '0/0'")) or 0)

    def _cpu(self) -> tuple[float, float]:
        """Seconds of PostgreSQL and of the API."""
        with self.engine.connect() as connection:
            postmaster = psutil.Process(connection.scalar(text("SELECT pg_backend_pid()"))).parent()
        assert postmaster is not None
        servers = [postmaster, *postmaster.children()]
        return sum(map(cpu_seconds, servers)), sum(map(cpu_seconds, workers_of(self.gunicorn)))

    def list(self, source_id: str, query: str = "") -> Cost:
        path = f"/http-traffics/{source_id}?pageLimit=20{query}"
        return Cost(statistics.median(self.request("GET", path) for _ in range(LISTS)))

    def purge_a_day(self) -> tuple[int, float]:
        """The number of purged records, and the seconds it took, without those that a purge of nothing takes."""
        before = self._count()
        took = self._purge() - self._purge()
        return before - self._count(), took

    def _purge(self) -> float:
        began = time.monotonic()
        process = self.service.start([*FLASK, "purge"], TRAFFIC_RETENTION_DAYS=str(DAYS - 1))
        assert process.wait(PURGE_SECONDS) == 0, self.service.log[-2000:]
        return time.monotonic() - began

    def _count(self) -> int:
        with self.engine.connect() as connection:
            return connection.scalar(text("SELECT count(*) FROM http_traffic_records")) or 0

    def sizes(self) -> tuple[int, int]:
        """Bytes of the table and of its indexes."""
        with self.engine.connect() as connection:
            table, indexes = connection.execute(text(SIZE)).one()
        return table, indexes


def configure(engine: Engine, setting: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"ALTER SYSTEM SET {setting}"))
        connection.execute(text("SELECT pg_reload_conf()"))
        time.sleep(0.2)


def measure(large: Large) -> Iterator[tuple[str, float, str]]:
    """Each figure's name, value and unit."""
    stored = large.stored + LISTED
    table, indexes = large.sizes()
    yield "table", table / stored, "bytes/record"
    yield "indexes", indexes / stored, "bytes/record"
    works: dict[str, Callable[[], Cost]] = {
        "one record": lambda: large.insert(RECORDS, 1),
        f"batch of {BATCH}": lambda: large.insert(BATCHES, BATCH),
        f"list, 20 of {LISTED:,}": lambda: large.list(large.listed[0]),
        f"list, 20 of {LISTED:,}, status=503": lambda: large.list(large.listed[0], "&status=503"),
        f"list, 20 of {large.stored // SOURCES:,} (a thousandth of all)": lambda: large.list(large.sources[0]),
    }
    for name, work in works.items():
        cost = work()
        yield name, cost.milliseconds, "ms"
        if cost.wal:
            yield f"{name}, WAL without whole pages", cost.wal, "bytes/record"
            yield f"{name}, CPU of PostgreSQL", cost.postgresql, "ms/record"
            yield f"{name}, CPU of the API", cost.api, "ms/record"
    purged, took = large.purge_a_day()
    yield "purge of a day", took, f"s for {purged:,} records"
    yield "purge of 1,000 records", took / purged * 1e6, "ms"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.large", description=(__doc__ or "").partition(":")[2])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of records (%(default)s)")
    sizes = [int(size) for size in parser.parse_args().sizes.split(",")]
    with databases(POSTGRESQL, durable=True) as make, tempfile.TemporaryDirectory(prefix="large") as folder:
        database = make(Path(folder))
        # Otherwise checkpoints fall into measurements.
        configure(database.engine, "max_wal_size = '8GB'")
        large = Large(database, Path(folder))
        try:
            for size in sizes:
                began = time.monotonic()
                large.grow(size)
                print(f"\n{size:,} records, stored in {time.monotonic() - began:.0f} s:", flush=True)
                for name, value, unit in measure(large):
                    print(f"| {name} | {value:,.3g} | {unit} |", flush=True)
        finally:
            large.service.stop()
            large.engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
