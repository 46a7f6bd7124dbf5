"""What one client may take, and for how long."""

import io
from typing import Any

import gevent
import pytest

from app.api import deadlines
from app.api.deadlines import Answer, Body, Room, TooSlow, WithDeadlines
from app.errors import Unavailable


class Slowly:
    """A body of ``parts``, each of which takes its time."""

    def __init__(self, *parts, seconds=0.0):
        self.parts = list(parts)
        self.seconds = seconds

    def read(self, size):
        gevent.sleep(self.seconds)
        return self.parts.pop(0) if self.parts else b""


class Malformed:
    def read(self, size):
        raise RuntimeError("canary")


@pytest.fixture
def impatient(monkeypatch):
    for name in ("BODY_SECONDS", "ANSWER_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(deadlines, name, 0.05)


def test_a_body_is_read_as_it_comes():
    body = Body(Slowly(b"a", b"b"), Room(10))
    assert [body.read(5), body.read(5), body.read(5)] == [b"a", b"b", b""]
    body.finish()


def test_the_deadline_is_that_of_the_whole_body(impatient):
    body = Body(Slowly(*[b"a"] * 100, seconds=0.01), Room(1000))
    with pytest.raises(OSError, match="whole"):
        list(iter(lambda: body.read(5), b""))
    assert 1 < body.taken < 10
    with pytest.raises(TooSlow):
        body.finish()


def test_what_is_no_http_is_a_body_that_does_not_come(impatient):
    body = Body(Malformed(), Room(10))
    with pytest.raises(OSError, match="whole"):
        body.read(5)
    with pytest.raises(TooSlow):
        body.finish()


def test_bodies_together_have_bounded_room():
    room = Room(10)
    first, second = Body(Slowly(b"a" * 6), room), Body(Slowly(b"a" * 6, b"a" * 4), room)
    first.read(6)
    with pytest.raises(Unavailable):
        second.read(6)
    first.release()
    first.release()
    second.read(4)
    second.release()
    assert room.left == 10


@pytest.mark.parametrize("rest", [Slowly(b"a", seconds=1), Malformed()])
def test_a_connection_ends_where_the_next_request_cannot_be_found(impatient, rest):
    with pytest.raises(TooSlow):
        Body(rest, Room(10)).finish()


def test_a_body_without_an_end_is_not_read_for_ever(impatient):
    class Endless(Slowly):
        def read(self, size):
            return b"a"

    with pytest.raises(TooSlow):
        Body(Endless(), Room(10)).finish()


def test_an_answer_that_is_not_taken_is_given_up(impatient):
    answer = Answer([b"a"] * 100, Body(Slowly(), Room(10)))
    with pytest.raises(TooSlow):
        [gevent.sleep(0.01) for _ in answer]


def test_an_answer_that_is_taken_closes_what_it_came_from(impatient):
    file = io.BytesIO(b"a")
    answer = Answer(file, Body(Slowly(b"rest"), Room(10)))
    assert list(answer) == [b"a"]
    answer.close()
    assert file.closed
    gevent.sleep(0.1)


def test_what_a_body_took_is_given_back_once_it_is_dealt_with():
    def app(environ, start_response):
        environ["wsgi.input"].read(6)
        environ["app.hold"](3)
        taken.append(served.room.left)
        return [b"a"]

    taken: list[int] = []
    served: Any = WithDeadlines(app)
    for _ in range(2):
        served({"wsgi.input": Slowly(b"a" * 6)}, None).close()
    assert taken == [deadlines.MAX_TOTAL_BODY_BYTES - 9] * 2
    assert served.room.left == deadlines.MAX_TOTAL_BODY_BYTES
