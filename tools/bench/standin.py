"""The stand-in for Discord of the tests, in a process of its own, noting when which message arrived."""

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
    """A message: to which destination, when (Unix seconds), and of how many events it tells."""

    destination: str
    at: float
    events: int


class RecordingDiscord(Discord):
    """What the process serves; called from this one through a proxy."""

    def serve(self) -> str:
        """Returns the URL to set as DISCORD_API_URL."""
        self.start()
        return self.url

    def answer_after(self, seconds: float) -> None:
        """Forget what arrived, and take so long to answer from now on."""
        self.reset()
        self.latency = seconds

    def arrivals(self) -> list[Arrival]:
        """What arrived since ``answer_after``, in order."""
        return [Arrival(posted.destination, posted.at, posted.events) for posted in list(self.messages)]

    def count(self) -> int:
        """How many messages arrived since ``answer_after``."""
        return len(self.messages)


class Manager(BaseManager):
    discord: Any


Manager.register("discord", RecordingDiscord)


@contextmanager
def recording_discord() -> Iterator[Any]:
    """A proxy of a ``RecordingDiscord``."""
    with Manager(ctx=get_context("spawn")) as manager:
        yield manager.discord(BOT_TOKEN)
