"""Counts are those of all processes together, whichever answers, and never go back."""

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.marks import e2e, on_both_databases
from tools.processes import dispatchers_of, eventually, workers_of
from tools.story import Story

pytestmark = [*e2e, pytest.mark.long]

WORKERS = 4
# Enough for every worker to be asked, almost surely.
LOOKS = 20
HEALTH = 'arkyn_http_requests_total{method="GET",route="/healthz",status="200"}'
STORED = 'arkyn_records_total{level="fatal"}'
DELIVERED = 'arkyn_delivery_attempts_total{outcome="delivered",status="200"}'


class Watcher:
    """Reads counters over and over; one that went back fails the test."""

    def __init__(self, client):
        self.client = client
        self.seen = {}

    def look(self, name):
        lines = [line.rpartition(" ") for line in self.client.get("/metrics").text.splitlines()]
        found = {series: float(value) for series, _, value in lines if "_total{" in series or "_count{" in series}
        gone_back = {series: value for series, value in self.seen.items() if found.get(series, 0.0) < value}
        assert gone_back == {}
        self.seen = found
        return found.get(name, 0.0)

    def agree(self, name):
        """What every worker says."""
        (agreed,) = {self.look(name) for _ in range(LOOKS)}
        return agreed


def ask(service, times):
    for _ in range(times):
        assert service.client.get("/healthz").status_code == 200


def started(gunicorn, but):
    return {worker.pid for worker in workers_of(gunicorn)} - but


def folder_of(gunicorn):
    (dispatcher,) = dispatchers_of(gunicorn)
    return Path(dispatcher.environ()["PROMETHEUS_MULTIPROC_DIR"])


def test_any_worker_tells_what_all_counted_also_when_they_are_killed_or_replaced(service):
    gunicorn = service.serve(WEB_CONCURRENCY=str(WORKERS))
    eventually(lambda: len(workers_of(gunicorn)) == WORKERS, "the workers run")
    eventually(lambda: service.log.count("Booting worker") == WORKERS, "the workers start")
    watcher = Watcher(service.client)
    ask(service, 40)
    assert watcher.agree(HEALTH) == 40
    folder = folder_of(gunicorn)

    killed = {worker.pid for worker in workers_of(gunicorn)}
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(started(gunicorn, killed)) == WORKERS, "all workers are replaced")
    assert watcher.agree(HEALTH) == 40
    ask(service, 40)
    assert watcher.agree(HEALTH) == 80
    files = sorted(folder.iterdir())
    assert len(files) <= 2 * WORKERS

    old = {worker.pid for worker in workers_of(gunicorn)}
    gunicorn.send_signal(signal.SIGHUP)
    eventually(lambda: not old & started(gunicorn, set()) and len(workers_of(gunicorn)) == WORKERS, "a reload")
    ask(service, 40)
    assert watcher.agree(HEALTH) == 120

    gunicorn.terminate()
    gunicorn.wait()
    assert not folder.exists()


@on_both_databases
def test_counts_of_deliveries_outlive_dispatchers_and_gunicorn(service, discord):
    gunicorn = service.serve(WEB_CONCURRENCY="2", DIGEST_WINDOW_SECONDS="0")
    watcher = Watcher(service.client)
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook()
    story.report()
    eventually(lambda: watcher.look(DELIVERED) == 1, "the delivery is counted")
    (dispatcher,) = dispatchers_of(gunicorn)
    dispatcher.kill()
    story.report()
    eventually(lambda: watcher.look(DELIVERED) == 2, "the successor's delivery is counted")
    assert watcher.agree(STORED) == 2
    story.report()
    eventually(lambda: len(discord.messages) == 3, "the message arrives")
    gunicorn.terminate()
    gunicorn.wait()
    service.serve()
    assert Watcher(service.client).look(DELIVERED) == 3
