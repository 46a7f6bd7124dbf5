"""gunicorn's threaded worker, in which no client keeps others waiting.

gunicorn reads each request in one of a few threads, which waits for its client without end. Here the loop that
watches all connections at once waits, and a thread takes a request once all of it is there. To send an answer to a
client that does not take it, only some of the threads wait, and not for long.
"""

import contextlib
import errno
import math
import re
import selectors
import socket
import sys
import threading
import time
import traceback
from functools import partial
from http import HTTPStatus
from multiprocessing.sharedctypes import RawArray

import orjson
import uuid_utils
from gunicorn import util
from gunicorn.http import errors
from gunicorn.http.body import Body, ChunkedReader
from gunicorn.workers.gthread import _DEFER, TConn, ThreadWorker

from app.api.headers import ALWAYS, UNLESS_SET

# From the first byte of a request to its last; and the same for the answer.
REQUEST_SECONDS = 30.0
ANSWER_SECONDS = 30.0
# After the answer, a client that does not close its side may go on sending (and is not heard) for so long.
LINGER_SECONDS = 2.0
# Reading on after an answer: what belongs to the request was gathered before, so nothing is worth waiting for.
DRAIN_SECONDS = 0.05

# A worker with so many connections more than another lets others accept first, and for so long.
MORE_THAN_OTHERS = 2
OTHERS_FIRST_SECONDS = 0.001

MAX_HEAD = 65_536
MAX_CHUNK_LINE = 8190
# The largest body the API takes, and what may come around it.
MAX_REQUEST = 17 * 1024 * 1024
# What all unfinished requests of a worker may hold together.
MAX_GATHERED = 128 * 1024 * 1024
READ_AT_ONCE = 65_536

CHUNK_SIZE = re.compile(rb"([0-9a-f]{1,8})[^\r\n]*\r\n", re.IGNORECASE)
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})")


# Why a connection cannot be accepted now. gunicorn ends a worker that has too many open files.
PASSING = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE}


class TooLarge(Exception):
    """The request is larger than any that the API takes."""


class TooMuchAtOnce(Exception):
    """Unfinished requests hold all the memory they may."""


REFUSALS = {
    TooLarge: (413, "The request body is too large."),
    TooMuchAtOnce: (503, "Too many large requests come at once. Try again."),
    errors.LimitRequestLine: (414, "The request line is too long."),
    errors.LimitRequestHeaders: (431, "The headers of the request are too many or too long."),
    errors.ExpectationFailed: (417, "Of all expectations, only 100-continue can be met."),
    errors.UnsupportedTransferCoding: (501, "Of all transfer codings, only chunked is understood."),
    errors.ParseException: (400, "The request is not valid HTTP."),
    Exception: (500, "An unexpected server error occurred."),
}


class ConnectionCounts:
    """How many connections each worker has, by its slot: memory that the workers of a master share."""

    SLOTS = 256
    NOBODY = -1

    def __init__(self):
        self.counts = RawArray("i", [self.NOBODY] * self.SLOTS)

    def note(self, slot, count):
        self.counts[slot] = count

    def forget(self, slot):
        self.counts[slot] = self.NOBODY

    def fewest(self):
        return min(count for count in self.counts if count != self.NOBODY)


class Broken(ConnectionResetError):
    """Told of clients that are too slow or send nonsense: what is ready for a broken connection is ready for them."""

    def __init__(self, reason):
        super().__init__(errno.ECONNRESET, reason)


class Room:
    """The bytes that are left for unfinished requests. Safe to share between threads."""

    def __init__(self, size):
        self.left = size
        self.lock = threading.Lock()

    def take(self, size):
        """Raises TooMuchAtOnce."""
        with self.lock:
            if size > self.left:
                raise TooMuchAtOnce
            self.left -= size

    def give_back(self, size):
        with self.lock:
            self.left += size


class BoundedSocket(socket.socket):
    """A socket whose calls wait no longer than its deadline. ``waiting`` bounds how many threads wait to send."""

    waiting = None
    deadline = math.inf
    answering = False
    head = b""

    def begin(self):
        self.deadline = time.monotonic() + REQUEST_SECONDS
        self.answering = False

    def setblocking(self, flag):
        """gunicorn says it several times a request: each call here knows itself whether it waits."""

    def take(self):
        """What has come, without waiting for more. Raises BlockingIOError where nothing has."""
        self._never_wait()
        return super().recv(READ_AT_ONCE)

    def recv(self, size):
        return self._in_time(super().recv, size)

    def sendall(self, data):
        """The head of an answer waits for what follows it, or for ``flush``: one packet for both."""
        if not self.answering:
            self.answering = True
            self.deadline = time.monotonic() + ANSWER_SECONDS
            if data.endswith(b"\r\n\r\n"):
                self.head = data
                return
        data, self.head = self.head + data, b""
        self._never_wait()
        with contextlib.suppress(BlockingIOError):
            data = memoryview(data)[self.send(data) :]
        if not data:
            return
        if not self.waiting.acquire(blocking=False):
            raise Broken("Too many clients do not take their answers.")
        try:
            self._in_time(super().sendall, data)
        finally:
            self.waiting.release()

    def flush(self):
        if self.head:
            self.sendall(b"")

    def _never_wait(self):
        if self.gettimeout() != 0:
            self.settimeout(0)

    def _in_time(self, call, argument):
        remaining = self.deadline - time.monotonic()
        try:
            if remaining <= 0:
                raise TimeoutError
            self.settimeout(min(remaining, self.gettimeout() or math.inf))
            return call(argument)
        except TimeoutError:
            raise Broken("The client is too slow.") from None


class CheckedBody(Body):
    """A body whose malformed chunk is told to the application as a connection that broke."""

    def _read_reader(self, size):
        try:
            return super()._read_reader(size)
        except errors.ParseException:
            raise Broken("The body is malformed.") from None


class Connection(TConn):
    """A connection that gathers what its client sends until it is a request."""

    def __init__(self, cfg, sock, client, server, room, waiting):
        bounded = BoundedSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        bounded.waiting = waiting
        bounded.settimeout(0)
        super().__init__(cfg, bounded, client, server)
        self.data_ready = True
        self.room = room
        self.taken = 0
        self.closes_at = None
        self._clear()

    def _clear(self):
        self.gathered = bytearray()
        self.body_at = self.next_chunk_at = self.length = None
        self.in_request = False
        self.room.give_back(self.taken)
        self.taken = 0

    def gather(self):
        """Take what has come, without waiting for more. Returns whether it is a request.

        Raises LimitRequestHeaders, TooLarge, TooMuchAtOnce; OSError where the connection broke.
        """
        if not self.in_request:
            self.in_request = True
            self.sock.begin()
            if self.parser:
                self.gathered += self.parser.unreader.take_buffered()
        with contextlib.suppress(BlockingIOError):
            while not self._is_whole():
                data = self.sock.take()
                if not data:
                    return True
                self.gathered += data
            return True
        self.room.take(len(self.gathered) - self.taken)
        self.taken = len(self.gathered)
        return False

    def _is_whole(self):
        if self.body_at is None and not self._read_head():
            return False
        if len(self.gathered) > MAX_REQUEST:
            raise TooLarge
        if self.length is None:
            return self._has_last_chunk()
        # One that is too large is the application's to refuse, before it is all here.
        return self.length > MAX_REQUEST or len(self.gathered) - self.body_at >= self.length

    def _read_head(self):
        """Learn from request line and headers, once they are there, how the body ends."""
        end = self.gathered.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            if len(self.gathered) >= MAX_HEAD:
                raise errors.LimitRequestHeaders("too long")
            return False
        head = self.gathered[: end + 2].lower()
        self.body_at = self.next_chunk_at = end + 4
        if b"\r\ntransfer-encoding:" not in head:
            length = CONTENT_LENGTH.search(head)
            self.length = int(length[1]) if length else 0
        if b"\r\nexpect: 100-continue\r\n" in head and len(self.gathered) == self.body_at:
            # The client waits to be asked for the body, as curl does with a large one.
            self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _has_last_chunk(self):
        """Whether the body has ended, or is malformed and has no end to wait for."""
        while self.gathered.find(b"\r\n", self.next_chunk_at, self.next_chunk_at + MAX_CHUNK_LINE) >= 0:
            chunk = CHUNK_SIZE.match(self.gathered, self.next_chunk_at)
            if chunk is None:
                return True
            size = int(chunk[1], 16)
            if size == 0:
                return self.gathered.find(b"\r\n\r\n", chunk.end() - 2) >= 0
            self.next_chunk_at = chunk.end() + size + 2
        return len(self.gathered) > self.next_chunk_at + MAX_CHUNK_LINE

    def init(self):
        super().init()
        self.parser.unreader.unread(bytes(self.gathered))
        self._clear()

    def finish(self):
        """Say that nothing more comes. To close at once could cost the client the end of the answer."""
        self.closes_at = time.monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def is_finished(self):
        try:
            return not self.sock.take() or time.monotonic() > self.closes_at
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self, graceful=False):
        """Never linger here: this runs in the loop that all connections share."""
        self._clear()
        util.close(self.sock)


class BoundedWorker(ThreadWorker):
    @classmethod
    def check_config(cls, cfg, log):
        super().check_config(cfg, log)
        if cfg.is_ssl:
            sys.exit("TLS is for a proxy in front: the API itself speaks plain HTTP.")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.room = Room(MAX_GATHERED)
        self.waiting = threading.Semaphore(self.cfg.threads // 2)

    def wait_for_and_dispatch_events(self, timeout):
        self.connection_counts.note(self.slot, self.nr_conns)
        super().wait_for_and_dispatch_events(timeout)

    def accept(self, listener):
        self.connection_counts.note(self.slot, self.nr_conns)
        if self.nr_conns > self.connection_counts.fewest() + MORE_THAN_OTHERS:
            # Else the first to wake would take all that a client opens at once, and leave the others nothing to do.
            time.sleep(OTHERS_FIRST_SECONDS)
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno not in PASSING:
                raise
            return
        self.nr_conns += 1
        self.enqueue_req(Connection(self.cfg, sock, client, listener.getsockname(), self.room, self.waiting))

    def handle(self, conn):
        """What a thread does when something came. ``_DEFER`` hands the connection back to the loop."""
        if conn.closes_at is None:
            try:
                if not conn.gather():
                    return _DEFER if time.monotonic() < conn.sock.deadline else False
            except OSError:
                return False
            except Exception as error:
                self.handle_error(None, conn.sock, conn.client, error)
            else:
                keep = super().handle(conn)
                try:
                    conn.sock.flush()
                except OSError:
                    return False
                if keep:
                    return True
            conn.finish()
        return False if conn.is_finished() else _DEFER

    def finish_request(self, conn, fs):
        deferred = not fs.cancelled() and fs.exception() is None and fs.result() is _DEFER
        if self.alive or not (deferred and conn.in_request):
            super().finish_request(conn, fs)
            return
        # gunicorn would take it for an idle connection, and a stopping worker closes those.
        conn.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle_request(self, req, conn):
        # Whoever waits to be told so was told already, while the body was gathered.
        req._expected_100_continue = False
        if isinstance(req.body.reader, ChunkedReader):
            req.body = CheckedBody(req.body.reader)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn, keepalive):
        return keepalive and conn.parser.finish_body(deadline=time.monotonic() + DRAIN_SECONDS)

    def handle_error(self, req, client, addr, exc):
        """Answer as the API does. What ``exc`` says is neither logged nor told: it quotes the request."""
        code, message = next(refusal for kind, refusal in REFUSALS.items() if isinstance(exc, kind))
        frames = "".join(traceback.format_tb(exc.__traceback__)) if code == 500 else ""
        self.log.warning("Answered %d to what is no request: %s. %s", code, type(exc).__name__, frames)
        with contextlib.suppress(OSError):
            client.sendall(_error_answer(code, message))


def _error_answer(code, message):
    phrase = HTTPStatus(code).phrase
    body = orjson.dumps({"code": code, "status": phrase, "message": message})
    headers = {
        "Connection": "close",
        "Content-Type": "application/json",
        "Content-Length": len(body),
        "X-Request-Id": uuid_utils.uuid7(),
        **dict([*ALWAYS, *UNLESS_SET]),
    }
    lines = [f"HTTP/1.1 {code} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
