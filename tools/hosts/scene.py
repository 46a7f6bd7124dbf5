"""Three API hosts, two dispatcher hosts and PostgreSQL with a replica, and clients that retry on another API host."""

import itertools
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, cast

import psutil
import urllib3

from tools.faults.databases import POSTGRESQL, Database
from tools.faults.neighbours import together
from tools.faults.scenario import PATIENCE_SECONDS, Row, Scene, Service, Target, failing_request
from tools.faults.standin import FaultyDiscord
from tools.hosts.network import Network
from tools.hosts.postgresql import NAME, PRIMARY, REPLICA, Pair
from tools.processes import DISPATCH, eventually, kill_group
from tools.story import Client

APIS = ("api1", "api2", "api3")
DISPATCHERS = ("dispatcher1", "dispatcher2")
# Where clients and the stand-in for Discord are.
OUTSIDE = "outside"
WEBHOOKS = 6
PAUSE_SECONDS = 0.05
TIMEOUT = urllib3.Timeout(connect=1.0, read=3.0)
# Until the last retry of a message that failed during a fault.
UNTIL_RETRIED_SECONDS = 150.0
# The load before and after a fault, so that an outage at its end is seen whole.
LEAD_SECONDS = 2.0


class Host(Service):
    """A host with one process of the service, an API or a dispatcher."""

    def __init__(self, network: Network, name: str, folder: Path, settings: dict[str, str]) -> None:
        own = folder / name
        own.mkdir()
        fixed = {"PORT": "8000", "EMBEDDED_DISPATCHER": "false", "DIGEST_WINDOW_SECONDS": "1"}
        address = network.addresses[name]
        super().__init__(own, settings | fixed, address=address, prefix=network.on(name))
        self.name = name

    @property
    def process(self) -> psutil.Popen:
        return self.started[-1]

    def begin(self, **settings: str) -> None:
        if self.name in APIS:
            self.serve("/healthz", **settings)
        else:
            self.dispatch(*DISPATCH, **settings)

    def restart(self, **settings: str) -> None:
        """Stop as an operator does, and start again."""
        self.process.terminate()
        psutil.wait_procs([self.process], timeout=PATIENCE_SECONDS)
        self.begin(**settings)

    def kill(self) -> None:
        kill_group(self.process)


class RetryingTarget(Target):
    """Its reports go to one API host until that fails, then to the next, until one accepts them."""

    def __init__(self, client: Client, fault: str, number: int, urls: list[str]) -> None:
        super().__init__(client, fault, number)
        self.urls = itertools.cycle(urls)
        for _ in range(number % len(urls) + 1):
            self.url = next(self.urls)
        # Times of acceptance, the longest time from the first try to it, and unexpected answers.
        self.answered: list[float] = []
        self.slowest = 0.0
        self.odd: set[str] = set()

    def report(self, count: int = 1, **fields: Any) -> bool:
        serials = [str(next(self.serials)) for _ in range(count)]
        records = [failing_request(serial) | {"reportId": serial} | fields for serial in serials]
        path = f"/http-traffic-records/{self.story.source_id}"
        began = time.time()
        while not (self._is_accepted(path, records[0]) if count == 1 else self._is_accepted(f"{path}/batch", records)):
            self.url = next(self.urls)
            if time.time() > began + PATIENCE_SECONDS:
                return False
            time.sleep(PAUSE_SECONDS)
        self.accepted.update(serials)
        self.answered.append(time.time())
        self.slowest = max(self.slowest, time.time() - began)
        return True

    def _is_accepted(self, path: str, body: Any) -> bool:
        headers = {"Authorization": f"Bearer {self.story.client.token}", "Connection": "close"}
        with suppress(urllib3.exceptions.HTTPError):
            url = self.url + path
            answer = urllib3.request("POST", url, json=body, headers=headers, retries=False, timeout=TIMEOUT)
            # The API answers 500 while the database fails as a whole, and for errors of its own.
            if answer.status not in (200, 201, 500, 503) or b"An unexpected" in answer.data:
                self.odd.add(f"answered {answer.status}: {answer.data[:200]!r}")
            return answer.status in (200, 201)
        return False


@dataclass(frozen=True)
class Outage:
    """The row of a fault, and its longest gaps, in seconds."""

    row: Row
    # Between two accepted reports of any client, and from the first try of a report to its acceptance.
    answers: float
    report: float
    # Between two messages of any webhook, and of one webhook.
    messages: float
    webhook: float


class Hosts(Scene):
    """All hosts. The first API host also answers the suite's own questions."""

    def __init__(self, network: Network, pair: Pair, database: Database, discord: FaultyDiscord, folder: Path) -> None:
        self.network = network
        self.pair = pair
        super().__init__(database, discord, folder)
        others = (Host(network, name, folder, self.settings) for name in (*APIS[1:], *DISPATCHERS))
        first = cast(Host, self.service)
        self.hosts = {APIS[0]: first} | {host.name: host for host in others}

    def make_service(self, folder: Path) -> Service:
        return Host(self.network, APIS[0], folder, self.settings)

    def begin(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Host.begin, self.hosts.values()))
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        for name in APIS:
            eventually(lambda: self._is_ready(self.hosts[name]), f"{name} is ready", PATIENCE_SECONDS)  # noqa: B023

    @staticmethod
    def _is_ready(host: Host) -> bool:
        with suppress(urllib3.exceptions.HTTPError):
            return host.client.get("/readyz").status_code == 200
        return False

    def target(self, fault: str) -> RetryingTarget:
        urls = [self.hosts[name].server.url for name in APIS]
        return RetryingTarget(self.client, fault, next(self.numbers), urls)

    @contextmanager
    def load(self, fault: str) -> Iterator[list[RetryingTarget]]:
        """Report steadily to fresh webhooks, from a client each, from before the block until after it."""
        targets = [self.target(fault) for _ in range(WEBHOOKS)]
        stopping = Event()

        def keep_reporting(target: RetryingTarget) -> None:
            for size in itertools.cycle((1, 1, 20, 1, 5)):
                if not target.report(size) or stopping.wait(PAUSE_SECONDS):
                    return

        with ThreadPoolExecutor(len(targets)) as pool:
            reporters = [pool.submit(keep_reporting, target) for target in targets]
            try:
                eventually(lambda: all(map(self.messages_of, targets)), "each webhook has a message", PATIENCE_SECONDS)
                time.sleep(LEAD_SECONDS)
                yield targets
                time.sleep(LEAD_SECONDS)
            finally:
                stopping.set()
            for reporter in reporters:
                reporter.result()

    def outage(self, targets: list[RetryingTarget]) -> Outage:
        """Wait until all is told, or UNTIL_RETRIED_SECONDS, and count."""
        ended = time.time()
        self.wait_until_ready()
        row = together(self.rows(*targets, within=UNTIL_RETRIED_SECONDS))
        told = [[message.at for message in self.messages_of(target)] for target in targets]
        answered = itertools.chain.from_iterable(target.answered for target in targets)
        return Outage(
            row=row,
            answers=longest_gap(answered, ended),
            report=max(target.slowest for target in targets),
            messages=longest_gap(itertools.chain.from_iterable(told), ended),
            webhook=max(longest_gap(times, ended) for times in told),
        )

    def stop(self) -> None:
        for host in getattr(self, "hosts", {"": self.service}).values():
            host.stop()

    @property
    def logs(self) -> str:
        return "\n".join(f"== {name}\n{host.log[-3000:]}" for name, host in self.hosts.items())


def longest_gap(times: Iterable[float], ended: float) -> float:
    """The longest gap that began before ``ended``, when the load stopped."""
    ordered = sorted(times)
    return max((after - before for before, after in itertools.pairwise(ordered) if before < ended), default=0.0)


@contextmanager
def hosts(folder: Path, both_addresses: bool) -> Iterator[Hosts]:
    """Everything, started. ``both_addresses``: DATABASE_URL names the primary and the replica."""
    network = Network()
    pair = scene = None
    discord = FaultyDiscord(bot_token="canary-bot-token")
    try:
        for name in (PRIMARY, REPLICA, OUTSIDE, *APIS, *DISPATCHERS):
            network.add(name)
        with network.entered(OUTSIDE):
            discord.start(address=network.addresses[OUTSIDE])
            pair = Pair(network, folder)
            pair.start()
            where = pair.primary.address
            if both_addresses:
                where = f"{where},{pair.replica.address}"
            options = "?target_session_attrs=read-write" if both_addresses else ""
            database = Database(POSTGRESQL, f"postgresql://postgres@{where}/{NAME}{options}")
            scene = Hosts(network, pair, database, discord, folder)
            scene.begin()
            yield scene
    finally:
        if scene:
            scene.stop()
        if pair:
            pair.stop()
        if discord.url:
            discord.stop()
        network.close()
