"""Runs the stand-in for Discord in its own process, and records when messages arrive."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from typing import Any

from tools.fake_discord import Discord

BOT_TOKEN = "bot-token"


@dataclass(frozen=True)
class Arrival:
    """A message that arrived. ``at`` is Unix seconds, ``events`` the number of events that it counts."""

    destination: str
    at: float
    events: int


class RecordingDiscord(Discord):
    """The object in the other process, called through a proxy."""

    def serve(self) -> str:
        """Start. Returns the URL for DISCORD_API_URL."""
        self.start()
        return self.url

    def answer_after(self, seconds: float) -> None:
        """Forget all arrivals, and answer after ``seconds`` from now on."""
        self.reset()
        self.latency = seconds

    def arrivals(self) -> list[Arrival]:
        """The messages since ``answer_after``, in order."""
        return [Arrival(posted.destination, posted.at, posted.events) for posted in list(self.messages)]

    def count(self) -> int:
        """The number of messages since ``answer_after``."""
        return len(self.messages)


class Manager(BaseManager):
    discord: Any


Manager.register("discord", RecordingDiscord)


@contextmanager
def recording_discord() -> Iterator[Any]:
    """A proxy of a ``RecordingDiscord``."""
    with Manager(ctx=get_context("spawn")) as manager:
        yield manager.discord(BOT_TOKEN)
