"""That the benchmark counts what it says it counts."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools.bench import load
from tools.bench.load import LoadError, Request
from tools.bench.report import EMPTY, FULL, Row, line

GENERATORS = [None, pytest.param(load.WRK, marks=pytest.mark.skipif(not load.WRK, reason="wrk is not installed"))]


class Handler(BaseHTTPRequestHandler):
    """Takes what has the right token and body."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        right = self.headers["Authorization"] == "Bearer secret" and body == b'{"level": "fatal"}'
        self.send_response(201 if right and self.path == "/right" else 409)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def post(path):
    return Request("POST", path, "secret", {"level": "fatal"})


@pytest.mark.parametrize("wrk", GENERATORS)
def test_answers_are_counted_and_timed(url, monkeypatch, wrk):
    monkeypatch.setattr(load, "WRK", wrk)
    outcome = load.run(url, [post("/right")], seconds=1, connections=2)
    assert outcome.rate > 10
    assert 0 < outcome.p50 <= outcome.p99 < 1000


@pytest.mark.parametrize("wrk", GENERATORS)
def test_one_refusal_among_successes_fails_the_run(url, monkeypatch, wrk):
    monkeypatch.setattr(load, "WRK", wrk)
    with pytest.raises(LoadError, match="refusals"):
        load.run(url, [*[post("/right")] * 20, post("/wrong")], seconds=1, connections=2)


def row(**samples):
    return Row("PostgreSQL", "create webhook", "1/s", samples, b1=[1000, 500, 2000], load_average=1.0)


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    found = row(empty=[900, 450, 1000], full=[855, 450, 1000])
    assert found.value(EMPTY) == 900
    assert found.ratio(EMPTY) == 0.9
    assert found.ratio(FULL) == 0.855
    assert found.flatness == 1.0


@pytest.mark.parametrize(
    ("samples", "met"),
    [
        ({EMPTY: [800, 400, 1600]}, "yes"),
        ({EMPTY: [790, 395, 1580]}, "**no**"),
        ({EMPTY: [800, 400, 1600], FULL: [730, 365, 1460]}, "yes"),
        ({EMPTY: [800, 400, 1600], FULL: [710, 355, 1420]}, "**no**"),
    ],
)
def test_a_row_says_whether_its_target_is_met(samples, met):
    assert f"| ≥ 0.8 × B1, full within 10 % | {met} |" in line(row(**samples))
