"""Measures the processes: memory after load, CPU when idle, start-up time."""

import time
from collections import defaultdict
from collections.abc import Iterator

from tools.bench import load
from tools.bench.load import Request
from tools.bench.report import Row
from tools.bench.seeding import PATHS
from tools.bench.servers import Bench, State
from tools.bench.works.deliveries import MEGABYTE_BYTES, cpu_seconds
from tools.bench.works.requests import BATCH, reporting_sources
from tools.story import record

# Enough to keep both workers busy.
LOAD_SECONDS, LOAD_CONNECTIONS = 4, 16
IDLE_SECONDS = 20.0


def memory_and_idling(bench: Bench) -> Iterator[Row]:
    """Memory after a mixed load, then the idle dispatchers' CPU."""
    sizes: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    shared: dict[str, dict[str, float]] = defaultdict(dict)
    with bench.running() as states:
        for state in states:
            _mixed_load(state)
            state.wait_until_delivered()
            for name, processes in {"worker": state.workers, "dispatcher": [state.dispatcher]}.items():
                infos = [process.memory_full_info() for process in processes]
                sizes[name][state.name].append(max(info.rss for info in infos) / MEGABYTE_BYTES)
                shared[name][state.name] = max(info.pss for info in infos) / MEGABYTE_BYTES
        idle = _idle_cpu(states)
    for name, samples in sizes.items():
        note = "; ".join(f"{state}: PSS {size:.0f} MB" for state, size in shared[name].items())
        yield Row(bench.database, f"memory after load, {name}", "MB RSS", samples, note=note)
    yield Row(bench.database, "idle dispatcher", "% of a core", idle)


def _mixed_load(state: State) -> None:
    sources = reporting_sources(state, 10)
    records = [record(status=500, pathnameUrl=f"/orders/{number % PATHS}") for number in range(BATCH)]
    single = [Request("POST", f"/http-traffic-records/{id}", state.token, records[0]) for id in sources]
    many = [Request("POST", f"/http-traffic-records/{id}/batch", state.token, records) for id in sources]
    lists = [Request("GET", f"/http-traffics/{id}", state.token) for id in sources]
    for requests in (single, many, lists):
        load.run(state.url, requests, LOAD_SECONDS, LOAD_CONNECTIONS)


def _idle_cpu(states: list[State]) -> dict[str, list[float]]:
    before = {state.name: cpu_seconds(state.dispatcher) for state in states}
    time.sleep(IDLE_SECONDS)
    return {state.name: [(cpu_seconds(state.dispatcher) - before[state.name]) / IDLE_SECONDS * 100] for state in states}


def start_up(bench: Bench) -> Iterator[Row]:
    """Seconds from the start of gunicorn to its first answer, and until a dispatcher runs."""
    alive, ready = defaultdict(list), defaultdict(list)
    for state in bench.states():
        for _ in range(bench.options.rounds):
            began = time.monotonic()
            try:
                state.start("/healthz")
                alive[state.name].append(time.monotonic() - began)
                state.wait_until_ready()
                ready[state.name].append(time.monotonic() - began)
            finally:
                state.stop()
    yield Row(bench.database, "start-up, /healthz answers", "s", alive)
    yield Row(bench.database, "start-up, /readyz answers", "s", ready)
