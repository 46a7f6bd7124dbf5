"""Measures latency and throughput from reports to messages at the stand-in for Discord."""

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread

import orjson
import psutil
import urllib3

from tools.bench import seeding
from tools.bench.load import LoadError
from tools.bench.report import Row
from tools.bench.servers import Bench, State, http_pool
from tools.bench.standin import Arrival
from tools.processes import eventually
from tools.story import record

# Quiet webhooks per state over all rounds, with one report each, and the pause between reports.
QUIET, PAUSE_SECONDS = 210, 0.05
STREAMS, REPORTS_PER_SECOND, STREAM_SECONDS = 50, 50, 21
DESTINATIONS, EACH, ANSWER_SECONDS = 500, 6, 0.1
CONNECTIONS = (32, 100)
STORM, BATCH, STORM_CLIENTS = 100_000, 500, 8
STORM_FIGURES = {
    "ingested": "records/s",
    "all told": "s after the last",
    "messages": "messages",
    "largest worker": "MB, peak RSS",
    "dispatcher": "MB, peak RSS",
}
PATIENCE_SECONDS = 120.0
MEGABYTE_BYTES = 1e6


class Target:
    """A webhook for fatal events, and the Unix times of its reports."""

    def __init__(self, state: State, pool: urllib3.HTTPConnectionPool) -> None:
        (self.source_id,) = seeding.add_sources(state.engine, state.user_id, 1)
        (self.webhook,) = seeding.add_webhooks(state.engine, [self.source_id], ["fatal"])
        self.destination = self.webhook["destination_id"]
        self.pool = pool
        self.headers = {"Authorization": f"Bearer {state.token}", "Content-Type": "application/json"}
        self.reported: list[float] = []

    def report(self, batch: bytes | None = None) -> None:
        """Report one failing request, or a ``batch`` of them. Raises LoadError if it is refused."""
        self.reported.append(time.time())
        path = f"/http-traffic-records/{self.source_id}{'/batch' if batch else ''}"
        answer = self.pool.request("POST", path, body=batch or orjson.dumps(record()), headers=self.headers)
        if answer.status != 201:
            raise LoadError(f"A report was answered {answer.status}.")


def quiet_webhook(bench: Bench) -> Iterator[Row]:
    """The latency of each webhook's first report, one after the other."""

    def report(targets: list[Target]) -> None:
        for target in targets:
            target.report()
            time.sleep(PAUSE_SECONDS)

    with bench.running() as states:
        latencies = _latencies(bench, states, QUIET // bench.options.rounds, report)
    yield from _percentiles(bench, "report → Discord, quiet webhook", latencies, f"{QUIET} webhooks")


def steady_stream(bench: Bench) -> Iterator[Row]:
    """The latency of reports at a steady pace, round-robin over the webhooks."""
    count = REPORTS_PER_SECOND * STREAM_SECONDS // bench.options.rounds

    def report(targets: list[Target]) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(STREAMS) as pool:
            sent = []
            for number, target in zip(range(count), itertools.cycle(targets), strict=False):
                time.sleep(max(0.0, began + number / REPORTS_PER_SECOND - time.monotonic()))
                sent.append(pool.submit(target.report))
            for report in sent:
                report.result()

    with bench.running(DIGEST_WINDOW_SECONDS="0") as states:
        latencies = _latencies(bench, states, STREAMS, report)
    work = f"report → Discord, {REPORTS_PER_SECOND} a second over {STREAMS} webhooks"
    yield from _percentiles(bench, work, latencies, "DIGEST_WINDOW_SECONDS=0")


def _latencies(
    bench: Bench, states: list[State], targets: int, report: Callable[[list[Target]], None]
) -> dict[str, list[float]]:
    """Milliseconds from report to message by state, over all rounds, each with ``targets`` fresh webhooks."""
    found: dict[str, list[float]] = defaultdict(list)
    for _, state in itertools.product(range(bench.options.rounds), states):
        pool = http_pool(state.url, STREAMS)
        fresh = [Target(state, pool) for _ in range(targets)]
        bench.discord.answer_after(0.0)
        report(fresh)
        arrivals = _wait_for(bench, sum(len(target.reported) for target in fresh))
        for target in fresh:
            found[state.name] += _delays(target, arrivals)
        state.wait_until_delivered()
    return found


def _wait_for(bench: Bench, events: int) -> list[Arrival]:
    """All arrivals, once they count ``events`` events."""

    def enough() -> list[Arrival]:
        arrivals: list[Arrival] = bench.discord.arrivals()
        return arrivals if sum(arrival.events for arrival in arrivals) >= events else []

    return eventually(enough, f"messages count {events:,} events", PATIENCE_SECONDS)


def _delays(target: Target, arrivals: list[Arrival]) -> list[float]:
    """Milliseconds from report to message; each message counts its webhook's oldest events not counted before."""
    arrived = itertools.chain.from_iterable(
        itertools.repeat(arrival.at, arrival.events)
        for arrival in arrivals
        if arrival.destination == target.destination
    )
    return [(at - reported) * 1000 for reported, at in zip(sorted(target.reported), arrived, strict=True)]


def _percentiles(bench: Bench, work: str, latencies: dict[str, list[float]], note: str) -> Iterator[Row]:
    for percent in (50, 99):
        samples = {name: [statistics.quantiles(found, n=100)[percent - 1]] for name, found in latencies.items()}
        yield Row(bench.database, f"{work}, p{percent}", "ms", samples, note=note)


def drain(bench: Bench) -> Iterator[Row]:
    """The rate at which one dispatcher sends a backlog, with one slow request at a time per destination."""
    for connections in CONNECTIONS:
        rates, cpu = defaultdict(list), defaultdict(list)
        settings = {"DISPATCHER_CONNECTIONS": str(connections), "EMBEDDED_DISPATCHER": "false"}
        with bench.running(ready="/healthz", **settings) as states:
            dispatchers = [(state, state.service.dispatch()) for state in states]
            for _, (state, dispatcher) in itertools.product(range(bench.options.rounds), dispatchers):
                rate, milliseconds = _drain_once(bench, state, dispatcher)
                rates[state.name].append(rate)
                cpu[state.name].append(milliseconds)
        work = f"drain, {DESTINATIONS} destinations, {connections} connections"
        yield Row(bench.database, work, "messages/s", rates)
        yield Row(bench.database, f"{work}, CPU", "ms/message", cpu)


def _drain_once(bench: Bench, state: State, dispatcher: psutil.Popen) -> tuple[float, float]:
    """Messages per second, and the dispatcher's CPU milliseconds per message."""
    messages = DESTINATIONS * EACH
    bench.discord.answer_after(ANSWER_SECONDS)
    before = cpu_seconds(dispatcher)
    seeding.add_backlog(state.engine, state.user_id, DESTINATIONS, messages)
    eventually(lambda: bench.discord.count() >= messages, "the backlog is sent", PATIENCE_SECONDS)
    state.wait_until_delivered()
    used = cpu_seconds(dispatcher) - before
    times = [arrival.at for arrival in bench.discord.arrivals()]
    return messages / (max(times) - min(times) + ANSWER_SECONDS), used / messages * 1000


def storm(bench: Bench) -> Iterator[Row]:
    """A storm in batches for one webhook: its ingestion rate, and the time until all events are delivered."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with bench.running() as states:
        for _, state in itertools.product(range(bench.options.rounds), states):
            for figure, value in _storm_once(bench, state).items():
                found[figure][state.name].append(value)
            state.wait_until_delivered()
    for figure, unit in STORM_FIGURES.items():
        yield Row(bench.database, f"storm of {STORM:,}, {figure}", unit, found[figure])


def _storm_once(bench: Bench, state: State) -> dict[str, float]:
    batch = orjson.dumps([record(pathnameUrl=f"/orders/{number}") for number in range(BATCH)])
    target = Target(state, http_pool(state.url, STORM_CLIENTS))
    bench.discord.answer_after(0.0)
    with peak_memory(state) as peaks:
        began = time.time()
        with ThreadPoolExecutor(STORM_CLIENTS) as pool:
            list(pool.map(target.report, itertools.repeat(batch, STORM // BATCH)))
        ended = time.time()
        arrivals = _wait_for(bench, STORM)
    figures = {"ingested": STORM / (ended - began), "all told": arrivals[-1].at - ended, "messages": len(arrivals)}
    return figures | peaks


@contextmanager
def peak_memory(state: State) -> Iterator[dict[str, float]]:
    """Peak RSS in MB of the largest worker and of the dispatcher within the block, filled in at its end."""
    peaks: dict[str, float] = {}
    ended = Event()

    def watch() -> None:
        workers, dispatcher = state.workers, state.dispatcher
        while not ended.wait(0.1):
            now = {
                "largest worker": max(worker.memory_info().rss for worker in workers) / MEGABYTE_BYTES,
                "dispatcher": dispatcher.memory_info().rss / MEGABYTE_BYTES,
            }
            peaks.update({name: max(size, peaks.get(name, 0.0)) for name, size in now.items()})

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
