"""A load generator in one process, for machines without wrk.

``python -m tools.bench.client URL FILE CONNECTIONS SECONDS``
"""

import json
import re
import selectors
import socket
import statistics
import sys
import time
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class Connection:
    """A kept-alive connection with one request at a time."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer = b""
        self.began = 0.0

    def send(self, request: bytes) -> None:
        self.answer = b""
        self.began = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int:
        """The status, once the answer is complete; 0 until then. Raises ConnectionError."""
        received = self.socket.recv(65_536)
        if not received:
            raise ConnectionError("The server closed the connection.")
        self.answer += received
        head, end, body = self.answer.partition(b"\r\n\r\n")
        if not end:
            return 0
        length = LENGTH.search(head)
        complete = length is None or len(body) >= int(length[1])
        return int(head[9:12]) if complete else 0


def main(url: str, file: str, connections: str, seconds: str) -> None:
    split = urlsplit(url)
    requests = cycle([formatted(line, split.netloc) for line in Path(file).read_text().splitlines()])
    address = (split.hostname or "", split.port or 80)
    selector = selectors.DefaultSelector()
    for _ in range(int(connections)):
        open_connection(selector, address).send(next(requests))
    durations, refused, broken = [], 0, 0
    began = time.perf_counter()
    while (now := time.perf_counter()) < began + float(seconds):
        for key, _ in selector.select(timeout=0.1):
            connection = key.data
            try:
                status = connection.receive()
            except OSError:
                broken += 1
                selector.unregister(connection.socket)
                connection.socket.close()
                connection = open_connection(selector, address)
            else:
                if not status:
                    continue
                durations.append(time.perf_counter() - connection.began)
                refused += not 200 <= status < 300
            connection.send(next(requests))
    percentiles = statistics.quantiles(durations, n=100) if len(durations) > 1 else [0.0] * 99
    outcome = {"answers": len(durations), "seconds": now - began, "refused": refused, "broken": broken}
    print(json.dumps(outcome | {"p50": percentiles[49] * 1000, "p99": percentiles[98] * 1000}))


def open_connection(selector: selectors.BaseSelector, address: tuple[str, int]) -> Connection:
    connection = Connection(address)
    selector.register(connection.socket, selectors.EVENT_READ, connection)
    return connection


def formatted(line: str, host: str) -> bytes:
    """The bytes of a request, given as ``Request.line``."""
    method, path, token, body = line.split("\t")
    headers = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
    headers += [f"Authorization: Bearer {token}"] if token else []
    headers += [f"Content-Length: {len(body.encode())}"] if body else []
    return "\r\n".join([*headers, "", body]).encode()


if __name__ == "__main__":
    main(*sys.argv[1:])
