"""A stand-in for Discord's HTTP API: answers, nonces, limits of messages, rate limits, and faults on demand."""

import asyncio
import itertools
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

NONCE_WINDOW_SECONDS = 300.0
MAX_EMBEDS, MAX_TOTAL_LENGTH, MAX_CONTENT_LENGTH = 10, 6000, 2000


@dataclass(frozen=True)
class Fault:
    """A faulty answer to one request.

    ``accept`` posts the message first, as when Discord accepts it and the answer is lost. ``hang`` is a delay in
    seconds. ``drop`` closes the connection instead of answering.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    accept: bool = False
    hang: float = 0.0
    drop: bool = False


@dataclass(frozen=True)
class Posted:
    """A message in a channel, or a request as it arrived. ``at`` is Unix seconds."""

    destination: str
    body: dict[str, Any]
    headers: dict[str, str]
    query: dict[str, str]
    at: float
    id: str = ""

    @property
    def events(self) -> int:
        """The number of events that the message counts; a notice has no timestamp, and counts none."""
        content = self.body.get("content", "")
        if "**" in content:
            return int(content.split("**")[1].split()[0].replace(",", ""))
        return sum("timestamp" in embed for embed in self.body["embeds"])


@dataclass
class Bucket:
    """``limit`` requests every ``per`` seconds."""

    limit: int
    per: float
    used: int = 0
    resets_at: float = 0.0

    def take(self, now: float) -> bool:
        if now >= self.resets_at:
            self.used, self.resets_at = 0, now + self.per
        self.used += 1
        return self.used <= self.limit

    def headers(self, name: str, now: float) -> dict[str, str]:
        return {
            "X-RateLimit-Bucket": name,
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.used)),
            "X-RateLimit-Reset-After": f"{max(0.0, self.resets_at - now):.3f}",
        }


class Discord:
    """The server, in a thread of its own. Its public attributes may be set and read while it runs.

    ``latency`` is in seconds; ``limit`` is a number of requests and a period in seconds.
    """

    def __init__(self, bot_token: str = "bot-token") -> None:
        self.bot_token = bot_token
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ids = itertools.count(1_000_000_000_000_000_000)
        self.reset()

    def reset(self) -> None:
        self.messages: list[Posted] = []
        self.requests: list[Posted] = []
        self.latency = 0.0
        self.limit: tuple[int, float] | None = None
        self.outage: Fault | None = None
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._buckets: dict[str, Bucket] = {}
        self._nonces: dict[tuple[str, str], tuple[float, str]] = {}
        self.rate_limited = 0

    def fail(self, *faults: Fault, destination: str = "*") -> None:
        """Queue faults for the next requests to ``destination``, such as ``channels/123``; one fault each."""
        self._faults[destination].extend(faults)

    def posted_to(self, destination: str) -> list[Posted]:
        return [message for message in self.messages if message.destination == destination]

    def start(self, port: int = 0, address: str = "127.0.0.1") -> "Discord":
        started = threading.Event()

        async def serve() -> None:
            app = web.Application()
            app.router.add_post("/api/v10/channels/{id}/messages", self._create_message)
            app.router.add_post("/api/v10/webhooks/{id}/{token}", self._execute_webhook)
            self._runner = web.AppRunner(app, access_log=None)
            await self._runner.setup()
            site = web.TCPSite(self._runner, address, port, backlog=1024)
            await site.start()
            self.url = f"http://{address}:{self._runner.addresses[0][1]}/api/v10"
            started.set()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(serve())
            self._loop.run_forever()

        self._thread = threading.Thread(target=run, name="discord", daemon=True)
        self._thread.start()
        started.wait()
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _create_message(self, request: web.Request) -> web.StreamResponse:
        destination = f"channels/{request.match_info['id']}"
        if request.headers.get("Authorization") != f"Bot {self.bot_token}":
            return _error(401, 0, "401: Unauthorized")
        return await self._post(request, destination)

    async def _execute_webhook(self, request: web.Request) -> web.StreamResponse:
        return await self._post(request, f"webhooks/{request.match_info['id']}")

    async def _post(self, request: web.Request, destination: str) -> web.StreamResponse:
        body = await request.json()
        posted = Posted(destination, body, dict(request.headers), dict(request.query), time.time())
        self.requests.append(posted)
        if self.latency:
            await asyncio.sleep(self.latency)
        if fault := self._next_fault(destination):
            return await self._fail(request, posted, fault)
        headers, refused = self._check_limit(destination)
        if refused is not None:
            return refused
        if problem := form_problem(body):
            return _error(400, 50035, f"Invalid Form Body: {problem}")
        return web.json_response({"id": self._accept(posted)}, headers=headers)

    def _next_fault(self, destination: str) -> Fault | None:
        for key in (destination, "*"):
            if self._faults[key]:
                return self._faults[key].popleft()
        return self.outage

    async def _fail(self, request: web.Request, posted: Posted, fault: Fault) -> web.StreamResponse:
        if fault.accept:
            self._accept(posted)
        if fault.hang:
            await asyncio.sleep(fault.hang)
        if fault.drop:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(fault.body or {}, status=fault.status, headers=fault.headers)

    def _check_limit(self, destination: str) -> tuple[dict[str, str], web.Response | None]:
        if self.limit is None:
            return {}, None
        now = time.time()
        bucket = self._buckets.setdefault(destination, Bucket(*self.limit))
        allowed = bucket.take(now)
        headers = bucket.headers("abcd1234", now)
        if allowed:
            return headers, None
        self.rate_limited += 1
        wait = bucket.resets_at - now
        headers |= {"Retry-After": str(int(wait) + 1), "X-RateLimit-Scope": "user"}
        body = {"message": "You are being rate limited.", "retry_after": round(wait, 3), "global": False}
        return headers, web.json_response(body, status=429, headers=headers)

    def _accept(self, posted: Posted) -> str:
        """Post the message, unless its nonce was seen within NONCE_WINDOW_SECONDS. Webhooks ignore nonces."""
        nonce = posted.body.get("nonce") if posted.body.get("enforce_nonce") else None
        if nonce and posted.destination.startswith("channels/"):
            at, message_id = self._nonces.get((posted.destination, nonce), (0.0, ""))
            if time.time() - at < NONCE_WINDOW_SECONDS:
                return message_id
        message_id = str(next(self._ids))
        if nonce:
            self._nonces[posted.destination, nonce] = (time.time(), message_id)
        self.messages.append(
            Posted(posted.destination, posted.body, posted.headers, posted.query, posted.at, message_id)
        )
        return message_id


def form_problem(body: dict[str, Any]) -> str | None:
    """The reason for which Discord would refuse a message's form; None if it would accept it."""
    embeds = body.get("embeds", [])
    limits = {"title": 256, "description": 4096}
    problems = [
        not body.get("content") and not embeds and "empty message",
        len(body.get("content", "")) > MAX_CONTENT_LENGTH and "content too long",
        len(embeds) > MAX_EMBEDS and "too many embeds",
        sum(map(embed_size, embeds)) > MAX_TOTAL_LENGTH and "embeds too large",
        len(body.get("nonce", "")) > 25 and "nonce too long",
        any(len(embed.get(name, "")) > limit for embed in embeds for name, limit in limits.items()) and "text too long",
        any(len(embed.get("author", {}).get("name", "")) > 256 for embed in embeds) and "author too long",
        any(len(embed.get("footer", {}).get("text", "")) > 2048 for embed in embeds) and "footer too long",
        any(len(embed.get("fields", [])) > 25 for embed in embeds) and "too many fields",
        any(_bad_field(item) for embed in embeds for item in embed.get("fields", [])) and "bad field",
    ]
    return next((str(problem) for problem in problems if problem), None)


def embed_size(embed: dict[str, Any]) -> int:
    """The characters that Discord counts towards MAX_TOTAL_LENGTH."""
    texts = [
        embed.get("title", ""),
        embed.get("description", ""),
        embed.get("footer", {}).get("text", ""),
        embed.get("author", {}).get("name", ""),
        *(item["name"] + item["value"] for item in embed.get("fields", [])),
    ]
    return sum(map(len, texts))


def _bad_field(item: dict[str, Any]) -> bool:
    return not (0 < len(item["name"]) <= 256 and 0 < len(item["value"]) <= 1024)


def _error(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)
