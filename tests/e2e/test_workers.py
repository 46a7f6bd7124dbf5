"""How workers share what comes."""

import socket
from contextlib import ExitStack

import psutil

from tests.e2e.marks import e2e
from tests.e2e.processes import eventually, workers_of

pytestmark = e2e

CONNECTIONS = 40


def test_connections_that_are_opened_at_once_are_shared_among_the_workers(service):
    gunicorn = service.serve(WEB_CONCURRENCY="2")
    workers = eventually(lambda: len(found := workers_of(gunicorn)) == 2 and found, "two workers run")
    address = ("127.0.0.1", int(service.server.url.rpartition(":")[2]))
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(address))

        def shares() -> list[int]:
            return [len(open_connections(worker)) for worker in workers]

        eventually(lambda: sum(shares()) >= CONNECTIONS, "all are accepted")
        assert min(shares()) >= CONNECTIONS / 4


def open_connections(worker: psutil.Process) -> list:
    return [each for each in worker.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED]
