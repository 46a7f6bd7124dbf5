"""Requests that wait, for a client or the database, keep no others waiting; and there are never many connections."""

import socket
import sqlite3
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.e2e.marks import e2e, on_both_databases, on_postgresql
from tools.processes import PATIENCE_SECONDS, eventually
from tools.story import CHANNEL, PASSWORD, Story, record, webhook

pytestmark = [*e2e, pytest.mark.long]

# More than the connections of a worker to its database.
MANY = 30
CONNECTIONS = 16
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def seconds_of(call):
    began = time.monotonic()
    assert call().status_code == 200
    return time.monotonic() - began


@on_postgresql
def test_who_waits_for_the_database_lets_others_go_on_and_opens_few_connections(service, database):
    service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    story = Story(service.client.sign_up("ana@example.com"))
    batch = partial(story.client.post, f"/http-traffic-records/{story.source_id}/batch", [record()])
    report = partial(story.client.post, f"/http-traffic-records/{story.source_id}", record())
    with ThreadPoolExecutor(2 * MANY) as pool, psycopg.connect(database) as connection:
        connection.execute("LOCK TABLE domains IN ACCESS EXCLUSIVE MODE")
        with psycopg.connect(database, autocommit=True) as watcher:
            asked = []
            # First those of transactions, then those of single statements.
            for number, ask in enumerate([batch, report], 1):
                asked += [pool.submit(ask) for _ in range(MANY)]
                waiting = number * CONNECTIONS // 2
                eventually(lambda: watcher.execute(WAITING).fetchone()[0] == waiting, "connections wait")  # noqa: B023
            assert max(seconds_of(lambda: service.client.get("/healthz")) for _ in range(3)) < 1
            assert watcher.execute(OTHERS).fetchone()[0] == CONNECTIONS + 1
        connection.rollback()
        assert {answer.result().status_code for answer in asked} == {201}


@on_both_databases
def test_bodies_that_do_not_come_hold_no_connection_to_the_database(service):
    service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    client = service.client.sign_up("ana@example.com")
    head = (
        f"PUT /user HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    )
    with ExitStack() as stack:
        for _ in range(MANY):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", int(service.environ["PORT"])), timeout=PATIENCE_SECONDS)
            )
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        assert max(seconds_of(lambda: client.get("/user")) for _ in range(3)) < 1


def test_who_waits_to_write_to_sqlite_lets_others_go_on(service, database):
    service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    story = Story(service.client.sign_up("ana@example.com"))
    with ThreadPoolExecutor() as pool, closing(sqlite3.connect(make_url(database).database)) as other:
        other.execute("BEGIN IMMEDIATE")
        reports: list[Future[Any]] = [
            pool.submit(story.report),
            pool.submit(story.report_batch, record(pathnameUrl="/a"), record(pathnameUrl="/b")),
            pool.submit(story.client.create_source, domain="other.example.com"),
        ]
        time.sleep(1)
        assert max(seconds_of(lambda: story.client.get("/user")) for _ in range(5)) < 0.5
        assert not any(report.done() for report in reports)
        other.rollback()
        for report in reports:
            report.result()


SECONDS = 4


@pytest.mark.parametrize("workers", ["1", "2"])
def test_whatever_is_written_to_sqlite_at_once_stalls_nobody(service, discord, workers):
    """It lets one write at a time: whoever stopped in the middle of it would hold up all others of the process."""
    service.serve(WEB_CONCURRENCY=workers, DIGEST_WINDOW_SECONDS="0.5")
    ana = service.client.sign_up("ana@example.com")
    story = Story(ana)
    webhook_id = story.create_webhook()
    ends = time.monotonic() + SECONDS

    def again_and_again(ask):
        """How long the longest took."""
        longest, number = 0.0, 0
        while time.monotonic() < ends:
            began = time.monotonic()
            answer = ask(number)
            assert answer.status_code in (200, 201), answer.text
            longest, number = max(longest, time.monotonic() - began), number + 1
        return longest

    path = f"/http-traffic-records/{story.source_id}"
    kinds = {
        "report": lambda number: ana.post(path, record(pathnameUrl=f"/{number}")),
        "batch": lambda number: ana.post(f"{path}/batch", [record(pathnameUrl=f"/{number}/{n}") for n in range(50)]),
        "webhook": lambda number: ana.post(f"/webhooks/{new_source(number)}", webhook()),
        "change": lambda number: ana.put(f"/webhooks/{webhook_id}", {"value": CHANNEL}),
        "sign in": lambda number: ana.post("/user/auth", {"email": "ana@example.com", "password": PASSWORD}),
        "test": lambda number: ana.post(f"/webhooks/{webhook_id}/test") if number < 10 else ana.get("/user"),
        "read": lambda number: ana.get(f"/http-traffics/{story.source_id}"),
    }

    def new_source(number):
        return ana.create_source(domain=f"{number}.example.com")

    discord.latency = 0.2
    with ThreadPoolExecutor(20) as pool:
        longest = {kind: pool.submit(again_and_again, ask) for kind, ask in kinds.items()}
        more = [pool.submit(again_and_again, kinds[kind]) for kind in ("report", "batch", "read") * 4]
        slowest = {kind: seconds.result() for kind, seconds in longest.items()}
        slowest |= {f"more {number}": seconds.result() for number, seconds in enumerate(more)}
    assert {kind: seconds for kind, seconds in slowest.items() if seconds > 3} == {}
    assert "Traceback" not in service.log
