"""Real applications under real servers: each request arrives once, with its route's template."""

import os
import signal
from collections import Counter

import pytest
from servers import Server, gunicorn, uvicorn

FLASK, DJANGO = "applications.flask_app:app", "applications.django_app:app"
SERVERS = {
    "Flask, gunicorn sync": gunicorn(FLASK, "-w", "2"),
    "Flask, gunicorn sync, preloaded": gunicorn(FLASK, "-w", "2", "--preload"),
    "Flask, gunicorn gthread, preloaded": gunicorn(FLASK, "-w", "2", "-k", "gthread", "--threads", "4", "--preload"),
    "Flask, gunicorn gevent": gunicorn(FLASK, "-w", "2", "-k", "gevent"),
    "Flask, gunicorn gevent, preloaded": gunicorn(FLASK, "-w", "2", "-k", "gevent", "--preload"),
    "Flask, its own server": ["flask", "--app", "applications.flask_app", "run", "-p", "PORT"],
    "Django, gunicorn gthread": gunicorn(DJANGO, "-w", "2", "-k", "gthread", "--threads", "4"),
    "Django, gunicorn gevent, preloaded": gunicorn(DJANGO, "-w", "2", "-k", "gevent", "--preload"),
    "Django, uvicorn": uvicorn("applications.django_app:asgi"),
    "Starlette, uvicorn": uvicorn("applications.starlette_app:app"),
    "FastAPI, uvicorn, workers": uvicorn("applications.fastapi_app:app", "--workers", "2"),
    "Quart, uvicorn": uvicorn("applications.quart_app:app"),
    "Quart, hypercorn, workers": ["hypercorn", "applications.quart_app:app", "-b", "127.0.0.1:PORT", "-w", "2"],
    "Litestar, uvicorn": uvicorn("applications.litestar_app:app"),
}


@pytest.fixture
def serve(collector, tmp_path):
    servers = []

    def start(command):
        servers.append(Server(command, collector.dsn, tmp_path / "server.log"))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize("name", SERVERS)
def test_every_request_is_reported_once_with_its_route(collector, serve, name):
    server = serve(SERVERS[name])
    for number in range(20):
        assert server.get(f"/orders/{number}?token=secret")[0] == 200
    assert server.get("/shops/ana/items/a/b.txt")[0] == 200
    assert server.get("/fail")[0] == 500
    assert server.get("/missing/5")[0] == 404
    assert server.get("/stream") == (200, b"x" * 5000)
    assert server.get("/orders/7", "HEAD")[0] in (200, 405)
    # SIGTERM ends the development server without a word to anybody.
    server.stop(signal.SIGINT if "its own" in name else signal.SIGTERM)
    seen = Counter((record["status"], record["pathnameUrl"]) for record in collector.values())
    head = [record for record in collector.values() if record["method"] == "HEAD"]
    assert len(head) == 1
    seen[head[0]["status"], head[0]["pathnameUrl"]] -= 1
    assert +seen == {
        (200, "/orders/{id}"): 20,
        (200, "/shops/{shop}/items/{name}"): 1,
        (500, "/fail"): 1,
        (404, "/missing/5"): 1,
        (200, "/stream"): 1,
    }
    assert collector.repeated == 0
    assert {record["domainUrl"] for record in collector.values()} == {"http://api.example.com"}
    assert "secret" not in str(collector.values())


@pytest.mark.parametrize("name", ["Flask, gunicorn sync", "Flask, gunicorn gevent", "Django, gunicorn gthread"])
def test_files_are_sent_by_the_server_itself(collector, serve, name):
    server = serve(SERVERS[name])
    assert server.get("/file") == (200, b"data")
    server.stop()
    assert [(record["status"], record["pathnameUrl"]) for record in collector.values()] == [(200, "/file")]


@pytest.mark.parametrize("name", ["Flask, gunicorn sync", "FastAPI, uvicorn, workers"])
def test_an_application_below_a_path_is_reported_with_it(collector, serve, name):
    server = serve(SERVERS[name])
    assert server.get("/mounted/orders/5")[0] == 200
    server.stop()
    assert [record["pathnameUrl"] for record in collector.values()] == ["/mounted/orders/{id}"]


@pytest.mark.parametrize("name", ["Flask, gunicorn gthread, preloaded", "Starlette, uvicorn", "Quart, uvicorn"])
def test_a_client_that_goes_away_is_reported_once(collector, serve, name):
    server = serve(SERVERS[name])
    for _ in range(5):
        server.leave_early("/stream")
    server.get("/orders/1")
    server.stop()
    assert len(collector.records) <= 6
    assert {record["status"] for record in collector.values()} <= {200, 499}
    assert collector.repeated == 0


def test_a_websocket_is_left_out(collector, serve):
    from websockets.sync.client import connect

    server = serve(SERVERS["Starlette, uvicorn"])
    with connect(f"ws://127.0.0.1:{server.port}/socket") as socket:
        assert socket.recv() == "hello"
    server.get("/orders/1")
    server.stop()
    assert len(collector.records) == 1


def test_a_worker_that_times_out_is_an_alarm(collector, serve):
    server = serve(gunicorn(FLASK, "-w", "1", "-t", "1"))
    server.leave_early("/hang")
    (record,) = collector.wait_for(1)
    assert (record["status"], record["pathnameUrl"]) == (500, "/hang")


def test_workers_that_are_replaced_lose_nothing(collector, serve):
    server = serve(gunicorn(FLASK, "-w", "2", "--preload", "--max-requests", "7"))
    for number in range(60):
        assert server.get(f"/orders/{number}")[0] == 200
    server.stop()
    assert len(collector.records) == 60
    assert collector.repeated == 0


def test_workers_that_are_reloaded_lose_nothing(collector, serve):
    server = serve(gunicorn(FLASK, "-w", "2"))
    for number in range(40):
        assert server.get(f"/orders/{number}")[0] == 200
        if number in (10, 25):
            os.kill(server.process.pid, 1)
    server.stop()
    assert len(collector.records) == 40
