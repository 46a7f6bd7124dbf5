"""How workers share what comes."""

import socket
from contextlib import ExitStack

import psutil

from tests.e2e.marks import e2e
from tools.processes import eventually, workers_of

pytestmark = e2e

CONNECTIONS = 40
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def test_connections_that_are_opened_at_once_are_shared_among_the_workers(service):
    gunicorn = service.serve(WEB_CONCURRENCY="2")
    eventually(lambda: len(workers_of(gunicorn)) == 2, "two workers run")
    workers = workers_of(gunicorn)
    port = int(service.server.url.rpartition(":")[2])
    eventually(lambda: min(shares(port, workers)) > 0, "both workers serve")
    assert min(shares(port, workers)) >= CONNECTIONS / 8


def shares(port: int, workers: list[psutil.Process]) -> list[int]:
    """How many connections each worker has, where a client opens many and asks on each."""
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(REQUEST)

        def found() -> list[int]:
            counts = [len(open_connections(worker)) for worker in workers]
            return counts if sum(counts) >= CONNECTIONS else []

        return eventually(found, "all are accepted")


def open_connections(worker: psutil.Process) -> list:
    return [each for each in worker.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED]
