"""Clients that are slow, malformed or many: whoever else asks is answered as before, and nothing is lost."""

import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle, islice

import pytest

from tests.e2e.marks import e2e, on_both_databases
from tools.processes import GUNICORN, PATIENCE_SECONDS, eventually
from tools.story import Story

pytestmark = [*e2e, pytest.mark.long]

MANY = 60
AT_ONCE = 300
POST = b"POST /user HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CANARY = b"Authorization: Bearer canary-token\r\n"

SLOW = {
    "nothing at all": b"",
    "half a request line": b"GET /heal",
    "half the headers": POST,
    "half the body": POST + b"Content-Length: 100\r\n\r\n{",
    "half of a large body": POST + b"Content-Length: 200000\r\n\r\n" + b"[" * 70_000,
    "a length that lies": POST + b"Content-Length: 0000000000000000005\r\n\r\n{",
    "half a chunk whose size has nine digits": CHUNKED + b"000000005\r\n{",
    "half a chunk of a size beyond all": CHUNKED + b"fffffffff\r\n{",
    "half a chunk": CHUNKED + b"ff\r\n[",
    "half a chunk that looks like an end": CHUNKED + b"ff\r\n0\r\n\r\n\r\n\r\n",
    "no last chunk": CHUNKED + b"1\r\n[\r\n",
    "a chunk of endless length": CHUNKED + b"1" * 5000,
    "no body, though it was asked for": POST + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n",
    "a second request of which half is there": b"GET /healthz HTTP/1.1\r\n\r\nGET /heal",
    "no further request": b"GET /healthz HTTP/1.1\r\n\r\n",
    "no end of its own after the last answer": b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
    "no end of its own after a refusal": b"nonsense\r\n\r\n",
    "a body larger than is read": POST + b"Content-Length: 999999999\r\n\r\n",
    "large answers that it does not take": b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\n\r\n" * 4,
}

# By gunicorn itself, and in its own words.
NO_REQUESTS = {
    "no request": (400, b"\x00\x01\x02 canary-token\r\n\r\n"),
    "another protocol": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x01" * 50 + b"\r\n\r\n"),
    "another version": (400, b"GET / HTTP/9.9\r\n" + CANARY + b"\r\n"),
    "no version": (400, b"GET /\r\n" + CANARY + b"\r\n"),
    "a space before the colon": (400, b"GET / HTTP/1.1\r\nAuthorization : Bearer canary-token\r\n\r\n"),
    "a control character": (400, b"GET / HTTP/1.1\r\nAuthorization: Bearer canary-token\x00\r\n\r\n"),
    "a folded header": (400, b"GET / HTTP/1.1\r\nX: canary-token\r\n folded\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "a negative length": (400, POST + b"Content-Length: -1\r\n\r\n"),
    "length and chunks": (400, POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "another coding": (400, POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    "another expectation": (417, POST + b"Expect: canary-token\r\nContent-Length: 2\r\n\r\n{}"),
    "a long request line": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n"),
    "many headers": (431, b"GET / HTTP/1.1\r\n" + CANARY * 200 + b"\r\n"),
    "a long header": (431, b"GET / HTTP/1.1\r\nX: " + b"a" * 60_000 + b"\r\n\r\n"),
}
MALFORMED = {
    "no chunk size": (400, CHUNKED + b"zz canary-token\r\n\r\n"),
    "a negative chunk size": (400, CHUNKED + b"-1\r\n\r\n"),
    "a chunk longer than it says": (400, CHUNKED + b"2\r\nabxyzzz\r\n0\r\n\r\n"),
    "a body beyond all limits": (413, CHUNKED + b"300000\r\n" + b"a" * 0x300000 + b"\r\n0\r\n\r\n"),
    "another method": (405, b"BREW /user HTTP/1.1\r\nConnection: close\r\n\r\n"),
    "a path that is no text": (404, b"GET /%ff%zz/%00 HTTP/1.1\r\nConnection: close\r\n\r\n"),
    "no token at all": (401, b"GET /user HTTP/1.1\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n"),
}


@contextmanager
def connected(service, sent):
    """A connection on which ``sent`` went out; as much of it as the service took."""
    port = int(service.environ["PORT"])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        if sent:
            connection.sendall(sent)
        yield connection


def read_to_the_end(connection):
    answer = b""
    try:
        while data := connection.recv(65_536):
            answer += data
    except ConnectionResetError:
        pass
    return answer


def seconds_to_answer(service):
    began = time.monotonic()
    assert service.client.get("/healthz").status_code == 200
    return time.monotonic() - began


@pytest.fixture
def served(service):
    service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    return service


def test_clients_that_send_or_take_slowly_keep_nobody_waiting(served):
    slowest = {}
    for what, sent in SLOW.items():
        with ExitStack() as connections:
            for _ in range(MANY):
                connections.enter_context(connected(served, sent))
            slowest[what] = max(seconds_to_answer(served) for _ in range(3))
    assert {what: seconds for what, seconds in slowest.items() if seconds > 2} == {}


@on_both_databases
def test_a_single_worker_serves_amid_all_kinds_of_slow_clients(service):
    service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    story = Story(service.client.sign_up("ana@example.com"))
    with ExitStack() as connections:
        for sent in islice(cycle(SLOW.values()), AT_ONCE):
            connections.enter_context(connected(service, sent))
        began = time.monotonic()
        assert max(seconds_to_answer(service) for _ in range(10)) < 1
        for _ in range(10):
            story.report()
        assert time.monotonic() - began < 5


def test_idle_connections_are_closed(served):
    with ExitStack() as connections:
        idle = [
            connections.enter_context(connected(served, sent))
            for sent in (b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\n\r\n")
        ]
        answers = [read_to_the_end(connection) for connection in idle]
    assert [answer.count(b"200 OK") for answer in answers] == [0, 0, 1]


def test_malformed_requests_are_refused_and_are_not_repeated_in_the_log(served):
    for what, (code, sent) in NO_REQUESTS.items():
        with connected(served, sent) as connection:
            answer = read_to_the_end(connection)
        assert answer.startswith(f"HTTP/1.1 {code} ".encode()), (what, answer)
    for what, (code, sent) in MALFORMED.items():
        with connected(served, sent) as connection:
            connection.shutdown(socket.SHUT_WR)
            answer = read_to_the_end(connection)
        assert answer.startswith(f"HTTP/1.1 {code} ".encode()), (what, answer)
        assert b"X-Request-Id: " in answer, what
        assert b"X-Content-Type-Options: nosniff" in answer, what
        assert f'{{"code":{code},"status":"'.encode() in answer, (what, answer)
        assert b"canary" not in answer, what
    assert "canary" not in served.log
    assert "Traceback" not in served.log


def test_what_is_gathered_bit_by_bit_is_one_request(served):
    body = b'{"name": "Ana", "email": "ana@example.com", "password": "long enough"}'
    plain = POST + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    chunked = CHUNKED + b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in body) + b"0\r\nX: y\r\n\r\n"
    with connected(served, b"") as connection:
        for sent in (plain, chunked):
            for start in range(0, len(sent), 50):
                connection.sendall(sent[start : start + 50])
                time.sleep(0.001)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = read_to_the_end(connection)
    assert [answer.count(f"HTTP/1.1 {code}".encode()) for code in (201, 409, 200)] == [1, 1, 1], answer


def test_requests_sent_at_once_are_answered_in_turn(served):
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(served, request * 50 + b"GET /nothing HTTP/1.1\r\nConnection: close\r\n\r\n") as connection:
        answer = read_to_the_end(connection)
    assert (answer.count(b"200 OK"), answer.count(b"404 NOT FOUND")) == (50, 1)
    assert answer.rindex(b"404 NOT FOUND") > answer.rindex(b"200 OK")


def test_who_asks_whether_to_send_a_body_is_told_to(served):
    with connected(
        served, POST + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    ) as connection:
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 400 BAD REQUEST")


def test_a_large_request_is_one_however_it_is_sent(served):
    story = Story(served.client.sign_up("ana@example.com"))
    answer = story.client.post(f"/http-traffic-records/{story.source_id}/batch", [{"requestBody": "x" * 10_000_000}])
    assert answer.status_code == 400
    assert "0" in answer.json["errors"]["json"]
    answer = story.client.post(f"/http-traffic-records/{story.source_id}/batch", ["x" * 18_000_000])
    assert answer.status_code == 413


@pytest.fixture
def impatient(service):
    """A service with deadlines of a second."""
    service.gunicorn = [*GUNICORN, "--config", "tests/e2e/impatient.py"]
    service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    yield service
    assert "Traceback" not in service.log


def trickle(connection, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.sendall(b"1")
        time.sleep(0.1)


@pytest.mark.parametrize("sent", [POST, CHUNKED, POST + b"Content-Length: 100000\r\n\r\n"])
def test_a_trickle_does_not_move_the_deadline_of_a_request(impatient, sent):
    with connected(impatient, sent) as connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
        trickle(connection, seconds=8)


def test_an_answer_that_is_not_taken_is_given_up(impatient):
    with connected(impatient, SLOW["large answers that it does not take"] * 10) as connection:
        time.sleep(2)
        taken = read_to_the_end(connection)
    assert 0 < taken.count(b"200 OK") < 40


def test_unfinished_requests_have_bounded_room(impatient):
    with ExitStack() as connections:
        held = [
            connections.enter_context(connected(impatient, POST + b"Content-Length: 130000\r\n\r\n" + b"[" * 110_000))
            for _ in range(16)
        ]
        answers = [read_to_the_end(connection) for connection in held]
    assert sum(answer.startswith(b"HTTP/1.1 503") and b'{"code":503,' in answer for answer in answers) == 1
    assert impatient.client.get("/healthz").status_code == 200


FLOOD = 10_000
REPORTS = 200
HOSTILE = [*SLOW.values(), *(sent for _, sent in (NO_REQUESTS | MALFORMED).values())]
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def was_refused(service, number):
    """Open one of many hostile connections and drop it; every third one politely."""
    try:
        with connected(service, HOSTILE[number % len(HOSTILE)]) as connection:
            if number % 3:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    except OSError:
        return True
    return False


def events_told(discord):
    return sum(message.events for message in discord.messages)


@pytest.mark.fuzz
@on_both_databases
def test_what_is_reported_amid_10_000_hostile_connections_arrives(service, discord):
    service.serve(DIGEST_WINDOW_SECONDS="0.5")
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook()
    with ThreadPoolExecutor(16) as pool:
        refusals = pool.map(partial(was_refused, service), range(FLOOD))
        for _ in range(REPORTS):
            story.report()
        refused = sum(refusals)
    assert refused < FLOOD / 10
    assert seconds_to_answer(service) < 1
    eventually(lambda: events_told(discord) >= REPORTS, "what was reported arrives")
    assert events_told(discord) == REPORTS
    assert "canary" not in service.log
    assert service.log.count("Booting worker") == 1
