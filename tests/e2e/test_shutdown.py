"""What SIGTERM, SIGHUP and Ctrl-C do."""

import json
import os
import signal
import socket

import pytest

from tests.e2e.marks import e2e, on_both_databases
from tools.processes import PATIENCE_SECONDS, dispatchers_of, eventually, is_alive, workers_of
from tools.story import Story, record

pytestmark = [*e2e, pytest.mark.long]


@on_both_databases
def test_what_is_under_way_at_sigterm_is_finished_and_nothing_is_lost_or_sent_twice(service, discord):
    gunicorn = service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    webhook_id = story.create_webhook("fatal", "111")
    story.create_webhook("warning", "222")
    discord.latency = 1.0
    story.report(status=500)
    eventually(lambda: discord.requests, "a message is in flight")
    with HalfSent(service.server.url, story, record(status=404)) as report:
        children = stop_in_order(gunicorn)
        eventually(lambda: "Handling signal: term" in service.log, "gunicorn begins to stop")
        assert report.finish().startswith("HTTP/1.1 201 ")
    assert_ended_in_order(gunicorn, children, service)
    assert len(discord.posted_to("channels/111")) == 1

    discord.latency = 0.0
    service.serve()
    eventually(lambda: discord.posted_to("channels/222"), "the message of the half-sent report arrives")
    assert [request.destination for request in discord.requests] == ["channels/111", "channels/222"]
    (delivery,) = story.client.get(f"/webhooks/{webhook_id}/deliveries").json["data"]
    assert (delivery["state"], delivery["attempts"]) == ("delivered", 1)


def test_after_a_reload_there_is_one_dispatcher_for_which_gunicorn_still_waits_at_sigterm(service, discord):
    gunicorn = service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook()
    (worker,) = workers_of(gunicorn)
    gunicorn.send_signal(signal.SIGHUP)
    eventually(lambda: not is_alive(worker) and workers_of(gunicorn), "a new worker takes over")
    eventually(lambda: len(dispatchers_of(gunicorn)) == 1, "one dispatcher runs")
    discord.latency = 3.0
    story.report()
    eventually(lambda: discord.requests, "a message is in flight")
    children = stop_in_order(gunicorn)
    assert_ended_in_order(gunicorn, children, service)
    assert len(discord.messages) == 1


def test_ctrl_c_ends_all_soon_and_starts_nothing_again(service):
    gunicorn = service.serve(WEB_CONCURRENCY="2")
    children = gunicorn.children()
    os.killpg(gunicorn.pid, signal.SIGINT)
    assert_ended_in_order(gunicorn, children, service)
    assert service.dispatchers_started == 1
    assert "started again" not in service.log


def stop_in_order(gunicorn):
    """Send SIGTERM. Returns the children that have to end, too."""
    children = gunicorn.children()
    gunicorn.terminate()
    return children


def assert_ended_in_order(gunicorn, children, service):
    assert gunicorn.wait(PATIENCE_SECONDS) == 0
    assert [child for child in children if is_alive(child)] == []
    assert "Traceback" not in service.log


class HalfSent:
    """A report that a worker has begun to read; ``finish`` sends the rest and returns the answer."""

    def __init__(self, url, story, body):
        host, _, port = url.removeprefix("http://").partition(":")
        self.body = json.dumps(body).encode()
        self.head = (
            f"POST /http-traffic-records/{story.source_id} HTTP/1.1\r\n"
            f"Host: {host}\r\nAuthorization: Bearer {story.client.token}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\nExpect: 100-continue\r\n\r\n"
        )
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)

    def __enter__(self):
        self.socket.sendall(self.head.encode())
        assert self.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        return self

    def __exit__(self, *_):
        self.socket.close()

    def finish(self):
        self.socket.sendall(self.body)
        return self.socket.recv(1000).decode()
