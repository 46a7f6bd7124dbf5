"""``make demo``: from sign-up to a message at a stand-in for Discord, and then an hour of a shop to look at.

Exits with 1 if no message arrives. At a terminal, or with ``--keep``, the service goes on until Ctrl-C.
"""

import argparse
import contextlib
import re
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography.fernet import Fernet

from tools import shop
from tools.fake_discord import Discord, Posted
from tools.processes import Service, eventually
from tools.story import CHANNEL, PASSWORD, Story

PATIENCE_SECONDS = 10.0
EMAIL = "ana@example.com"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="go on until Ctrl-C, also without a terminal")
    keep = parser.parse_args().keep or is_at_terminal()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    discord = Discord(bot_token=secrets.token_urlsafe()).start()
    try:
        return run(discord, keep=keep)
    finally:
        discord.stop()


def is_at_terminal() -> bool:
    """Whether somebody can press Ctrl-C: a job whose output alone is a terminal would go on for ever."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def run(discord: Discord, patience: float = PATIENCE_SECONDS, keep: bool = False) -> int:
    """Print each step. Returns the exit code. ``patience`` is in seconds."""
    step("Discord", f"a stand-in at {discord.url}")
    with started_service(discord) as service:
        reported_at = report_a_failing_request(service)
        try:
            eventually(lambda: discord.messages, "a message arrives", patience)
        except TimeoutError:
            print(f"Nothing arrived in the channel within {patience:g} s.", file=sys.stderr)
            return 1
        message = discord.messages[0]
        step("Message", f"arrived after {(message.at - reported_at) * 1000:.0f} ms:")
        print(readable(message), flush=True)
        if keep:
            open_shop(service)
    return 0


def open_shop(service: Service) -> None:
    """Report an hour of a shop, say where to look at it, and report on as time goes by, until Ctrl-C."""
    story = add_shop(service)
    step("Console", f"{service.server.url}/console/sources/{story.source_id}")
    step("Sign in", f"{EMAIL}, password {PASSWORD!r}; Ctrl-C ends it all")
    with contextlib.suppress(KeyboardInterrupt):
        for request in shop.requests_from_now():
            story.report(**request)
            time.sleep(shop.PAUSE_SECONDS)


def add_shop(service: Service) -> Story:
    """A source with webhooks, and an hour of requests with an incident."""
    story = Story(service.client.sign_in(EMAIL), name="Shop", domain="shop.example.com")
    for level in ("fatal", "warning"):
        story.create_webhook(level, CHANNEL)
    requests = list(shop.requests(datetime.now(UTC)))
    for start in range(0, len(requests), 1_000):
        story.report_batch(*requests[start : start + 1_000])
    return story


def report_a_failing_request(service: Service) -> float:
    """Do what a user does, up to a report. Returns the Unix time in seconds at which it was sent."""
    step("Service", f"gunicorn and the dispatcher at {service.server.url}, on SQLite")
    client = service.client.sign_up(EMAIL)
    step("Sign up", f"POST /user: {EMAIL}")
    step("Sign in", f"POST /user/auth: a token of {len(client.token or '')} characters")
    story = Story(client)
    step("Source", f"POST /traffic-sources: {story.source_id}")
    story.create_webhook("fatal", CHANNEL)
    step("Webhook", f"POST /webhooks/…: fatal events go to channel {CHANNEL}")
    reported_at = time.time()
    story.report(method="post", pathnameUrl="/orders/42", status=503, elapsedTime=1840.5)
    step("Report", "POST /http-traffic-records/…: POST /orders/42 was answered 503 after 1840.5 ms")
    return reported_at


@contextmanager
def started_service(discord: Discord) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "DATABASE_URL": f"sqlite:///{folder}/demo.sqlite3",
            "DISCORD_API_URL": discord.url,
            "DISCORD_BOT_TOKEN": discord.bot_token,
            "JWT_SECRET_KEY": secrets.token_urlsafe(48),
            "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        }
        service = Service(Path(folder), settings)
        try:
            service.migrate()
            service.serve()
            yield service
        finally:
            service.stop()


def step(name: str, text: str) -> None:
    print(f"{name:<9}{text}", flush=True)


def readable(message: Posted) -> str:
    """The message, roughly as Discord shows it."""
    (embed,) = message.body["embeds"]
    lines = [embed["author"]["name"], embed["title"], *with_times(embed["description"]).splitlines()]
    return "\n".join(f"  │ {line}" for line in lines)


def with_times(text: str) -> str:
    """``text`` with times in place of Discord's timestamps, such as ``<t:1753108200:f>``."""
    return re.sub(r"<t:(\d+):\w>", lambda match: f"{datetime.fromtimestamp(int(match[1])):%Y-%m-%d %H:%M:%S}", text)


if __name__ == "__main__":
    sys.exit(main())
