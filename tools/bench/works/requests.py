"""Measures the API's requests per second, in turns with B1."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from app.models.traffic import LEVELS
from tools.bench import load, seeding
from tools.bench.load import CONNECTIONS, Outcome, Request
from tools.bench.report import EMPTY, Row
from tools.bench.seeding import PATHS
from tools.bench.servers import WARM_UP_SECONDS, Bench, State
from tools.story import json_of, record, webhook

BATCH = 500
# An upper bound on the webhooks created.
MAX_CREATED_PER_SECOND = 6000
SOURCES = 100
RECORDS = (1_000, 20_000)
SUCCESS, FAILURE = 200, 500

# Yields the requests of each round, for a running state.
Supply = Callable[[State], Iterable[Sequence[Request]]]


def baselines(bench: Bench) -> Iterator[Row]:
    """B0 and B1 in turns."""
    rates: dict[str, list[float]] = defaultdict(list)
    with bench.baseline("b0") as b0, bench.baseline("b1") as b1:
        for baseline in (b1, b0) * bench.options.rounds:
            rates[baseline.app].append(baseline.measure(bench.options.seconds).rate)
    yield Row(bench.database, "B0", "1/s", {EMPTY: rates["b0"]}, rates["b1"])


def create_webhook(bench: Bench) -> Iterator[Row]:
    """Create webhooks, each for an unused source and level and for a new channel."""
    a_round = round(MAX_CREATED_PER_SECOND * max(1, bench.options.seconds))

    def supply(state: State) -> Iterator[list[Request]]:
        sources = seeding.add_sources(
            state.engine, state.user_id, a_round * (1 + bench.options.rounds) // len(LEVELS) + 1
        )
        free = itertools.product(sources, LEVELS)
        while True:
            yield [
                Request("POST", f"/webhooks/{id}", state.token, webhook(level=level, value=str(channel)))
                for (id, level), channel in zip(itertools.islice(free, a_round), seeding.channels, strict=False)
            ]

    yield from measure(bench, "create webhook", supply)


def list_webhooks(bench: Bench) -> Iterator[Row]:
    def supply(state: State) -> Iterator[list[Request]]:
        sources = seeding.add_sources(state.engine, state.user_id, SOURCES)
        seeding.add_webhooks(state.engine, sources, LEVELS)
        return itertools.repeat([Request("GET", f"/webhooks/{id}", state.token) for id in sources])

    yield from measure(bench, "list webhooks", supply)


def list_sources(bench: Bench) -> Iterator[Row]:
    def supply(state: State) -> Iterator[list[Request]]:
        seeding.add_sources(state.engine, state.user_id, SOURCES)
        return itertools.repeat([Request("GET", "/traffic-sources", state.token)])

    yield from measure(bench, f"list traffic sources, 10 of {SOURCES}", supply)


def list_traffic(bench: Bench) -> Iterator[Row]:
    for count in RECORDS:

        def supply(state: State, count: int = count) -> Iterator[list[Request]]:
            (source,) = seeding.add_sources(state.engine, state.user_id, 1)
            seeding.add_records(state.engine, source, count)
            return itertools.repeat([Request("GET", f"/http-traffics/{source}", state.token)])

        yield from measure(bench, f"list traffic, 10 of {count:,}", supply)


def record_without_notification(bench: Bench) -> Iterator[Row]:
    yield from _by_each_token(bench, "one record", SUCCESS)


def record_with_notification(bench: Bench) -> Iterator[Row]:
    yield from _by_each_token(bench, "one record with notification", FAILURE)


def _by_each_token(bench: Bench, work: str, status: int) -> Iterator[Row]:
    """Report to ten sources, each with a webhook for fatal events."""
    for kind, token_of in {"user": user_token, "ingest": ingest_token}.items():

        def supply(state: State, token_of: Callable[[State, str], str] = token_of) -> Iterator[list[Request]]:
            tokens = {id: token_of(state, id) for id in reporting_sources(state, 10)}
            paths = [f"/orders/{number}" for number in range(PATHS)]
            return itertools.repeat(
                [
                    Request("POST", f"/http-traffic-records/{id}", token, record(status=status, pathnameUrl=path))
                    for path, (id, token) in itertools.product(paths, tokens.items())
                ]
            )

        yield from measure(bench, f"{work}, {kind} token", supply)


def user_token(state: State, source_id: str) -> str:
    return state.token


def ingest_token(state: State, source_id: str) -> str:
    return str(json_of(state.client.post(f"/traffic-sources/{source_id}/ingest-tokens", {}))["token"])


def batches(bench: Bench) -> Iterator[Row]:
    """Batches that cause no delivery; the storm measures those that do."""

    def supply(state: State) -> Iterator[list[Request]]:
        records = [record(status=SUCCESS, pathnameUrl=f"/orders/{number % PATHS}") for number in range(BATCH)]
        sources = reporting_sources(state, 10)
        return itertools.repeat(
            [Request("POST", f"/http-traffic-records/{id}/batch", state.token, records) for id in sources]
        )

    for connections, clients in {1: "one client", 8: "8 clients"}.items():
        yield from measure(bench, f"batches of {BATCH}, {clients}", supply, connections, "records/s", BATCH)


def reporting_sources(state: State, count: int) -> list[str]:
    """Add ``count`` traffic sources of the user, each with a webhook for fatal events."""
    sources = seeding.add_sources(state.engine, state.user_id, count)
    seeding.add_webhooks(state.engine, sources, ["fatal"])
    return sources


def measure(
    bench: Bench, work: str, supply: Supply, connections: int = CONNECTIONS, unit: str = "1/s", each: int = 1
) -> Iterator[Row]:
    """A row of rates. A round measures B1, then each state; each request counts as ``each`` units."""
    seconds = bench.options.seconds
    baseline: list[float] = []
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    with bench.baseline("b1") as b1, bench.running() as states:
        supplies = [(state, iter(supply(state))) for state in states]
        for state, requests in supplies:
            load.run(state.url, next(requests), WARM_UP_SECONDS, connections)
        for _ in range(bench.options.rounds):
            baseline.append(b1.measure(seconds).rate)
            for state, requests in supplies:
                outcomes[state.name].append(load.run(state.url, next(requests), seconds, connections))
                state.wait_until_delivered()
    rates = {name: [outcome.rate * each for outcome in found] for name, found in outcomes.items()}
    yield Row(bench.database, work, unit, rates, baseline, latencies(outcomes))


def latencies(outcomes: dict[str, list[Outcome]]) -> str:
    """The percentiles of the slowest round, by state."""
    slowest = {name: max(found, key=lambda outcome: outcome.p99) for name, found in outcomes.items()}
    return "; ".join(f"{name}: p50 {it.p50:.0f}, p99 {it.p99:.0f} ms" for name, it in slowest.items())
