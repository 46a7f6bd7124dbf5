"""The parts of a scenario: the service, the stand-in for Discord, webhooks to report to, and their rows."""

import itertools
import signal
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import urllib3
from sqlalchemy import Connection, select

from app.models import TrafficRecord
from tools import processes
from tools.fake_discord import Posted
from tools.faults.databases import Database
from tools.faults.standin import FaultyDiscord
from tools.processes import eventually
from tools.story import PASSWORD, WEBHOOK_TOKEN, Client, Story, json_of, record

# Generous, since the machine is shared and its speed is not tested.
PATIENCE_SECONDS = 90.0
JWT_SECRET_KEY = "canary-jwt-secret-key-of-enough-length"
ENCRYPTION_KEY = "canary-encryption-key-of-the-right-length00="
PATHS = ("/orders/{}", "/orders/{}/items", "/users/{}", "/carts/{}", "/search", "/login", "/health", "/payments/{}")
STATUSES = (500, 502, 503)


@dataclass(frozen=True)
class Row:
    """The result of a fault for one webhook. ``problems`` is empty if every promise held. Times are in seconds."""

    database: str
    fault: str
    by_bot: bool
    accepted: int
    delivered: int
    lost: int
    sent_twice: int
    messages: int
    seconds: float
    problems: tuple[str, ...]
    # The longest time from a report to its message, if measured.
    longest: float = 0.0

    @property
    def name(self) -> str:
        return self.fault if self.by_bot else f"{self.fault} (webhook URL)"


class Service(processes.Service):
    """The service, with more time to start."""

    patience = PATIENCE_SECONDS

    def dispatch(self, *command: str, **settings: str) -> psutil.Popen:
        """Start a dispatcher, by ``command`` if given, and wait until it has started."""
        before = self.dispatchers_started
        process = self.start(list(command) or processes.DISPATCH, **settings)
        eventually(lambda: self.dispatchers_started > before, "a dispatcher starts", PATIENCE_SECONDS)
        return process


class Target:
    """A webhook with its own traffic source, and the reports for it.

    Its destination, ``id`` at Discord, is its own, unless one is given.
    """

    def __init__(self, client: Client, fault: str, number: int, by_bot: bool = True, id: str = "") -> None:
        self.fault = fault
        self.by_bot = by_bot
        self.id = id or str(1000 + number)
        self.name = f"Payments API {number}"
        self.story = Story(client, domain=f"api{number}.payments.com", name=self.name)
        self.webhook_id = self.story.create_webhook("fatal", self.value)
        self.serials = itertools.count()
        self.accepted: set[str] = set()
        self.began = time.time()
        # Seconds that one of its messages may take, and that the slowest took.
        self.bound = PATIENCE_SECONDS
        self.longest = 0.0

    @property
    def value(self) -> str:
        return self.id if self.by_bot else f"https://discord.com/api/webhooks/{self.id}/{WEBHOOK_TOKEN}"

    @property
    def destination(self) -> str:
        return f"{'channels' if self.by_bot else 'webhooks'}/{self.id}"

    def put(self, id: str = "") -> None:
        """Set the webhook's address to ``id``, or again to the current one."""
        self.id = id or self.id
        answer = self.story.client.put(f"/webhooks/{self.webhook_id}", {"value": self.value})
        assert answer.status_code == 200, answer.text

    def set_policy(self, **policy: Any) -> None:
        answer = self.story.client.put(f"/webhooks/{self.webhook_id}/policy", policy)
        assert answer.status_code == 200, answer.text

    def mute(self, days: float) -> None:
        until = datetime.now(UTC) + timedelta(days=days)
        answer = self.story.client.post(f"/webhooks/{self.webhook_id}/mute", {"until": until.isoformat()})
        assert answer.status_code == 200, answer.text

    def unmute(self) -> None:
        assert self.story.client.delete(f"/webhooks/{self.webhook_id}/mute").status_code == 204

    def report(self, count: int = 1, **fields: Any) -> bool:
        """Report ``count`` failing requests at once, without retries. Returns whether they were accepted."""
        serials = [str(next(self.serials)) for _ in range(count)]
        records = [failing_request(serial) | fields for serial in serials]
        path = f"/http-traffic-records/{self.story.source_id}"
        with suppress(urllib3.exceptions.HTTPError):
            if count == 1:
                answer = self.story.client.post(path, records[0])
            else:
                answer = self.story.client.post(f"{path}/batch", records)
            if answer.status_code == 201:
                self.accepted.update(serials)
                return True
        return False

    @property
    def status(self) -> dict[str, Any]:
        return dict(json_of(self.story.client.get(f"/webhooks/{self.webhook_id}/status")))

    @property
    def pending(self) -> int:
        """Events that are not settled."""
        return int(self.status["pending"])

    @property
    def left_out(self) -> int:
        """Events that the policy ignored or held back."""
        return int(self.status["ignored"] + self.status["heldBack"])

    def deliveries(self) -> Iterator[dict[str, Any]]:
        for page in itertools.count(1):
            path = f"/webhooks/{self.webhook_id}/deliveries?page={page}&pageLimit=100"
            found = json_of(self.story.client.get(path))["data"]
            yield from found
            if len(found) < 100:
                return


def failing_request(serial: str) -> dict[str, Any]:
    """A report that ``serial``, as its user id, distinguishes from all others."""
    number = int(serial)
    path = PATHS[number % len(PATHS)].format(number)
    return record(
        status=STATUSES[number % len(STATUSES)], pathnameUrl=path, elapsedTime=number % 997, trafficUserId=serial
    )


class Scene:
    """The service, its database and the stand-in for Discord, for one scenario."""

    def __init__(self, database: Database, discord: FaultyDiscord, folder: Path) -> None:
        self.database = database
        self.discord = discord
        self.service = self.make_service(folder)
        self.service.migrate()
        self.numbers = itertools.count()

    def make_service(self, folder: Path) -> Service:
        return Service(folder, self.settings)

    @property
    def settings(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database.url,
            "DISCORD_API_URL": self.discord.url,
            "DISCORD_BOT_TOKEN": self.discord.bot_token,
            "JWT_SECRET_KEY": JWT_SECRET_KEY,
            "ENCRYPTION_KEYS": ENCRYPTION_KEY,
            # No recovery notices, which would blur the counts.
            "RECOVERY_AFTER_SECONDS": "0",
        }

    @cached_property
    def client(self) -> Client:
        return self.service.client.sign_up("ana@example.com", PASSWORD)

    @cached_property
    def neighbour(self) -> Client:
        """Another user's client."""
        return self.service.client.sign_up("bob@example.com", PASSWORD)

    def channel(self, fault: str, id: str = "") -> Target:
        return Target(self.client, fault, next(self.numbers), id=id)

    def neighbours(self, fault: str, bound: float, id: str = "") -> Target:
        """Another user's webhook, none of whose messages may take longer than ``bound``."""
        target = Target(self.neighbour, fault, next(self.numbers), id=id)
        target.bound = bound
        return target

    def webhook_url(self, fault: str) -> Target:
        return Target(self.client, fault, next(self.numbers), by_bot=False)

    def killed(self, command: list[str]) -> None:
        """Start a dispatcher that kills itself, and wait until it has."""
        dispatcher = self.service.start(command, DIGEST_WINDOW_SECONDS="0")
        assert dispatcher.wait(PATIENCE_SECONDS) == -signal.SIGKILL, f"Not killed: {command}."

    def requests_to(self, target: Target) -> list[Posted]:
        return [request for request in self.discord.requests if request.destination == target.destination]

    def messages_of(self, target: Target) -> list[Posted]:
        """The target's messages, at any destination."""
        return [message for message in self.discord.messages if author(message) == target.name]

    def time(self, target: Target) -> None:
        """Report one request, and wait for its message."""
        before, began = len(self.messages_of(target)), time.time()
        assert target.report()
        eventually(lambda: len(self.messages_of(target)) > before, "a neighbour's message is posted", PATIENCE_SECONDS)
        target.longest = max(target.longest, self.messages_of(target)[before].at - began)

    @contextmanager
    def sql(self) -> Iterator[Connection]:
        """A connection for changes that the API does not offer; commits at the end."""
        engine = self.database.engine
        with engine.begin() as connection:
            yield connection
        engine.dispose()

    def is_answer_due(self, target: Target) -> bool:
        """Whether the latest request has arrived, and its answer is at least half of the latency away."""
        requests = self.requests_to(target)
        return bool(requests) and time.time() - requests[-1].at < self.discord.latency / 2

    def rows(self, *targets: Target, within: float = PATIENCE_SECONDS) -> Iterator[Row]:
        """Yield a row for each target once it has no pending events, or after ``within`` seconds."""
        deadline = time.monotonic() + within
        waiting = list(targets)
        while waiting:
            for target in [target for target in waiting if not target.pending or time.monotonic() > deadline]:
                waiting.remove(target)
                yield self._row(target)
            time.sleep(0.2)

    def _row(self, target: Target) -> Row:
        posted = self.messages_of(target)
        seen = {content(message): message for message in posted}
        delivered = sum(message.events for message in seen.values())
        deliveries = list(target.deliveries())
        visible = [delivery for delivery in deliveries if delivery["state"] != "delivered"]
        waiting = sum(delivery["eventCount"] for delivery in visible)
        kept = self._kept(target)
        missing = len(kept) - delivered - waiting - target.left_out
        lost = len(target.accepted - kept) + max(0, missing)
        sent_twice = len(posted) - len(seen)
        problems = {
            f"lost {lost}": lost,
            f"sent twice {sent_twice}": sent_twice and target.by_bot,
            f"{-missing} events more than there were": missing < 0,
            f"{len(visible)} messages not delivered in time: {visible[:1]}": visible,
            "nothing was accepted": not target.accepted,
            f"a message took {target.longest:.2f} s": target.longest > target.bound,
        }
        return Row(
            database=self.database.name,
            fault=target.fault,
            by_bot=target.by_bot,
            accepted=len(target.accepted),
            delivered=delivered,
            lost=lost,
            sent_twice=sent_twice,
            messages=len(posted),
            seconds=max((message.at for message in posted), default=time.time()) - target.began,
            problems=tuple(problem for problem, there_is in problems.items() if there_is),
            longest=target.longest,
        )

    def _kept(self, target: Target) -> set[str]:
        """Serials of the stored records, which include those whose answer was cut off."""
        query = select(TrafficRecord.traffic_user_id).where(TrafficRecord.traffic_source_id == target.story.source_id)
        with self.sql() as connection:
            return {str(serial) for serial in connection.scalars(query)}


def author(message: Posted) -> str:
    """The traffic source that the message names."""
    return str(message.body["embeds"][0]["author"]["name"])


def content(message: Posted) -> str:
    """The message without its nonce; unique within a webhook, since it contains times."""
    return str({name: part for name, part in message.body.items() if name != "nonce"})


@contextmanager
def load(targets: Iterable[Target], pause: float) -> Iterator[None]:
    """Report to each of ``targets``, one by one and in batches, from a thread each."""
    stopping = Event()

    def keep_reporting(target: Target) -> None:
        for size in itertools.cycle((1, 1, 20, 1, 5)):
            target.report(size)
            if stopping.wait(pause):
                return

    targets = list(targets)
    with ThreadPoolExecutor(len(targets)) as pool:
        reporters = [pool.submit(keep_reporting, target) for target in targets]
        try:
            yield
        finally:
            stopping.set()
        for reporter in reporters:
            reporter.result()
