"""How long a client may take over its request and its answer, and how much memory all of a worker may take.

gunicorn waits 5 seconds for the head of a request, and without end for what follows it. Only for where it serves.
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

# For the whole body, from its first byte to its last; and the same for the answer.
BODY_SECONDS = 30.0
ANSWER_SECONDS = 30.0
# How long what nobody wants is read after the answer. To close at once could cost the client the end of the answer.
LINGER_SECONDS = 2.0
READ_AT_ONCE = 65_536
# What all bodies of a worker may hold together: eight of the largest.
MAX_BODIES = 128 * 1024 * 1024


def init_app(app: Flask) -> None:
    app.wsgi_app = WithDeadlines(app.wsgi_app)  # type: ignore[method-assign]


class TooSlow(ConnectionResetError):
    """Raised where gunicorn sends or reads: it ends the connection, as if the client had."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "The client is too slow.")


class Room:
    """The bytes that are left for bodies."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> None:
        if size > self.left:
            raise Unavailable("Too many large requests come at once. Try again.")
        self.left -= size

    def give_back(self, size: int) -> None:
        self.left += size


class Body:
    """What a client sends. Raises OSError where it takes too long, or is not HTTP."""

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
        """Count bytes as the body's, read or made of it. Raises Unavailable where there is no room for them."""
        self.room.take(size)
        self.taken += size

    def release(self) -> None:
        self.room.give_back(self.taken)
        self.taken = 0

    def finish(self) -> None:
        """Read what nobody wanted. Raises TooSlow where the next request could not be told from it."""
        if self.is_broken:
            raise TooSlow
        try:
            with Timeout(LINGER_SECONDS, TooSlow):
                while self.source.read(READ_AT_ONCE):
                    sleep(0)
        except Exception:
            raise TooSlow from None


class Answer:
    """An answer that has to be taken in time."""

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
    def __init__(self, app: "WSGIApplication") -> None:
        self.app = app
        self.room = Room(MAX_BODIES)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        # Who sends request after request without waiting for answers would else be the only one to be served.
        sleep(0)
        environ["wsgi.input"] = body = Body(environ["wsgi.input"], self.room)
        environ[HOLD] = body.hold
        try:
            return Answer(self.app(environ, start_response), body)
        finally:
            body.release()
