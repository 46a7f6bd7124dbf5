"""When a request is whole: everything before that, the loop waits for; everything after, a thread."""

import socket
import threading
from types import SimpleNamespace

import pytest
from gunicorn.http.errors import LimitRequestHeaders
from hypothesis import given
from hypothesis import strategies as st

import gunicorn_worker
from gunicorn_worker import BoundedWorker, Connection, ConnectionCounts, Room, TooLarge, TooMuchAtOnce
from tests.support import examples

HEAD = b"POST /user HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def connect():
    """Both ends of connections, over room for a million bytes."""
    ends = []

    def connect(room=None):
        ours, theirs = socket.socketpair()
        ends.extend([ours, theirs])
        cfg = SimpleNamespace(keepalive=5)
        connection = Connection(cfg, ours, None, None, room or Room(1_000_000), threading.Semaphore(1))
        ends.append(connection.sock)
        return connection, theirs

    yield connect
    for end in ends:
        end.close()


def chunked(chunks, extension=b"", trailer=b""):
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n" + trailer + b"\r\n"


bodies = st.binary(max_size=200)
requests = st.one_of(
    st.sampled_from([b"GET / HTTP/1.1\r\n\r\n", HEAD + b"\r\n"]),
    st.builds(lambda body: HEAD + b"content-length:%d\r\n\r\n%b" % (len(body), body), bodies),
    st.builds(
        chunked,
        st.lists(st.binary(min_size=1, max_size=40) | st.sampled_from([b"0\r\n\r\n", b"\r\n\r\n"]), max_size=5),
        st.sampled_from([b"", b";a=b", b' ; a="b"']),
        st.sampled_from([b"", b"A: b\r\n"]),
    ),
)


@examples(100)
@given(requests, st.lists(st.integers(1, 60), max_size=20))
def test_a_request_is_whole_with_its_last_byte_and_not_before(request, sizes):
    ours, theirs = socket.socketpair()
    room = Room(1000)
    connection = Connection(SimpleNamespace(keepalive=5), ours, None, None, room, None)
    with connection.sock, theirs:
        start = 0
        for size in sizes:
            end = min(start + size, len(request) - 1)
            theirs.sendall(request[start:end])
            assert not connection.gather(), request[:end]
            start = end
        theirs.sendall(request[start:])
        assert connection.gather()
        assert connection.gathered == request
        connection.close()
    assert room.left == 1000


def test_headers_without_end_are_refused(connect):
    connection, _ = connect()
    connection.gathered += b"a" * gunicorn_worker.MAX_HEAD
    with pytest.raises(LimitRequestHeaders):
        connection.gather()


def test_chunks_without_end_are_refused(connect):
    connection, _ = connect()
    connection.gathered += HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 3_000_000
    with pytest.raises(TooLarge):
        connection.gather()


def test_a_length_beyond_all_limits_is_not_waited_for(connect):
    connection, theirs = connect()
    theirs.sendall(HEAD + b"Content-Length: 999999999\r\n\r\n")
    assert connection.gather()


def test_a_connection_that_ends_early_is_not_waited_for(connect):
    connection, theirs = connect()
    theirs.sendall(HEAD)
    assert not connection.gather()
    theirs.shutdown(socket.SHUT_WR)
    assert connection.gather()


def test_what_is_unfinished_takes_room_until_it_is_closed(connect):
    room = Room(100)
    (first, theirs), (second, others) = connect(room), connect(room)
    theirs.sendall(b"a" * 60)
    others.sendall(b"a" * 60)
    assert not first.gather()
    with pytest.raises(TooMuchAtOnce):
        second.gather()
    first.close()
    assert not second.gather()
    assert room.left == 40


@pytest.mark.parametrize("rest", [[b"{}"], [b"{", b"}"]])
def test_the_head_of_an_answer_is_sent_with_what_follows_it(connect, rest):
    connection, theirs = connect()
    connection.sock.sendall(HEAD + b"\r\n")
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    for part in rest:
        connection.sock.sendall(part)
    assert theirs.recv(1000) == HEAD + b"\r\n{}"


def test_the_head_of_an_answer_without_a_body_is_sent_in_the_end(connect):
    connection, theirs = connect()
    connection.sock.sendall(HEAD + b"\r\n")
    connection.sock.flush()
    connection.sock.flush()
    assert theirs.recv(1000) == HEAD + b"\r\n"


def test_a_body_that_looks_like_a_head_is_sent_at_once(connect):
    connection, theirs = connect()
    connection.sock.sendall(HEAD + b"\r\n")
    connection.sock.sendall(b"a\r\n\r\n")
    connection.sock.sendall(b"b\r\n\r\n")
    assert theirs.recv(1000) == HEAD + b"\r\na\r\n\r\nb\r\n\r\n"


def test_only_workers_that_are_there_count_as_having_few_connections():
    counts = ConnectionCounts()
    counts.note(0, 5)
    counts.note(1, 2)
    assert counts.fewest() == 2
    counts.forget(1)
    assert counts.fewest() == 5


@pytest.mark.parametrize(("own", "pauses"), [(2, []), (4, []), (5, [gunicorn_worker.OTHERS_FIRST_SECONDS])])
def test_a_worker_with_many_more_connections_lets_others_accept_first(monkeypatch, own, pauses):
    taken = []
    monkeypatch.setattr(gunicorn_worker.time, "sleep", taken.append)
    worker = BoundedWorker.__new__(BoundedWorker)
    worker.slot, worker.nr_conns, worker.connection_counts = 1, own, ConnectionCounts()
    worker.connection_counts.note(0, 2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        worker.accept(listener)
    assert taken == pauses
