"""Replays events under a policy: how many messages it would have sent. Pure."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from app.policies import CompiledRule, Threshold, is_ignored


class Seen(NamedTuple):
    """An event that was reported."""

    at: datetime
    method: str
    path: str
    status: int


class Preview(NamedTuple):
    """The messages that a policy sends, without recovery notices and reminders, and the events without a message."""

    messages: int
    ignored: int
    held_back: int


@dataclass
class Replay:
    """A webhook whose messages Discord takes at once.

    Events gather for ``window`` after a message. An incident is over after ``quiet`` without events.
    """

    rules: Sequence[CompiledRule]
    threshold: Threshold | None
    window: timedelta
    quiet: timedelta
    messages: int = 0
    ignored: int = 0
    held_back: int = 0
    _held: deque[datetime] = field(default_factory=deque)
    _gathered: int = 0
    _window_ends: datetime | None = None
    _last: datetime | None = None
    _is_open: bool = False

    def add(self, event: Seen) -> None:
        """Add the next event, in the order of time."""
        if is_ignored(self.rules, event.method, event.path, event.status):
            self.ignored += 1
            return
        self._end_window(event.at)
        if self._last and event.at - self._last > self.quiet:
            self._is_open = False
        self._last = event.at
        if self.threshold and not self._is_open:
            self._hold(event.at, self.threshold)
        else:
            self._tell(event.at)

    def finish(self) -> Preview:
        if self._gathered:
            self.messages += 1
        return Preview(self.messages, self.ignored, self.held_back + len(self._held))

    def _hold(self, at: datetime, threshold: Threshold) -> None:
        self._held.append(at)
        while self._held[0] < at - timedelta(seconds=threshold.seconds):
            self._held.popleft()
            self.held_back += 1
        if len(self._held) >= threshold.events:
            self._held.clear()
            self._is_open = True
            self._tell(at)

    def _tell(self, at: datetime) -> None:
        if self._window_ends and at < self._window_ends:
            self._gathered += 1
        else:
            self.messages += 1
            self._window_ends = at + self.window

    def _end_window(self, now: datetime) -> None:
        if self._gathered and self._window_ends and self._window_ends <= now:
            self.messages += 1
            self._gathered = 0
            self._window_ends += self.window


def replay(
    events: Iterable[Seen],
    rules: Sequence[CompiledRule],
    threshold: Threshold | None,
    window: timedelta,
    quiet: timedelta,
) -> Preview:
    """Replay ``events``, in the order of time, for one webhook."""
    webhook = Replay(rules, threshold, window, quiet)
    for event in events:
        webhook.add(event)
    return webhook.finish()
