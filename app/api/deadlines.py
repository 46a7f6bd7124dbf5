"""Closes connections of slow clients, and bounds the memory that a worker's request bodies hold.

gunicorn's gevent worker limits the time for a request's head only. Loaded only under gunicorn.
"""

import errno
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from flask import Flask
from gevent import Timeout, sleep

from app.api.body import HOLD
from app.errors import Unavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Deadlines for a whole body and a whole answer.
BODY_SECONDS = 30.0
ANSWER_SECONDS = 30.0
# Lingering close: discard unread input after the answer, since closing at once could cut off the answer's end.
LINGER_SECONDS = 2.0
READ_CHUNK_BYTES = 65_536
# The bytes that all request bodies of a worker may take together: eight of the largest.
MAX_TOTAL_BODY_BYTES = 128 * 1024 * 1024


def init_app(app: Flask) -> None:
    app.wsgi_app = WithDeadlines(app.wsgi_app)  # type: ignore[method-assign]


class TooSlow(ConnectionResetError):
    """Makes gunicorn close the connection, as it does when the client resets it."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "The client is too slow.")


class Room:
    """The bytes that remain for request bodies."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> None:
        if size > self.left:
            raise Unavailable("Too many large requests come at once. Try again.")
        self.left -= size

    def give_back(self, size: int) -> None:
        self.left += size


class Body:
    """A request's ``wsgi.input`` with a deadline. Raises OSError for a slow, broken or malformed body."""

    def __init__(self, source: Any, room: Room) -> None:
        self.source = source
        self.room = room
        self.taken = 0
        self.until: float | None = None
        self.is_broken = False

    def read(self, size: int = -1) -> bytes:
        self.until = self.until or monotonic() + BODY_SECONDS
        try:
            with Timeout(max(0.0, self.until - monotonic()), TooSlow):
                data: bytes = self.source.read(size)
        except Exception:
            self.is_broken = True
            raise OSError("The body did not come whole.") from None
        self.hold(len(data))
        return data

    def hold(self, size: int) -> None:
        """Count bytes that the body takes, read or unpacked. Raises Unavailable if there is no room for them."""
        self.room.take(size)
        self.taken += size

    def release(self) -> None:
        self.room.give_back(self.taken)
        self.taken = 0

    def finish(self) -> None:
        """Discard the unread rest. Raises TooSlow if its end, and so the next request, cannot be found."""
        if self.is_broken:
            raise TooSlow
        try:
            with Timeout(LINGER_SECONDS, TooSlow):
                while self.source.read(READ_CHUNK_BYTES):
                    sleep(0)
        except Exception:
            raise TooSlow from None


class Answer:
    """A response with a deadline for the client to take it."""

    def __init__(self, parts: Iterable[bytes], body: Body) -> None:
        self.parts = parts
        self.body = body
        self.timeout = Timeout.start_new(ANSWER_SECONDS, TooSlow)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.parts)

    def close(self) -> None:
        self.timeout.close()
        if hasattr(self.parts, "close"):
            self.parts.close()
        self.body.finish()


class WithDeadlines:
    """WSGI middleware that applies both deadlines and the memory bound."""

    def __init__(self, app: "WSGIApplication") -> None:
        self.app = app
        self.room = Room(MAX_TOTAL_BODY_BYTES)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        # Yield: a client that pipelines requests would otherwise starve all others.
        sleep(0)
        environ["wsgi.input"] = body = Body(environ["wsgi.input"], self.room)
        environ[HOLD] = body.hold
        try:
            return Answer(self.app(environ, start_response), body)
        finally:
            body.release()
