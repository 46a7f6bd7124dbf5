"""A stand-in for the service: takes batches as the contract says, remembers what arrived, and fails when told to."""

from __future__ import annotations

import argparse
import gzip
import json
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "test-token.never-logged.0123456789"
SOURCE = "0198c1de-0000-7000-8000-000000000001"


class Collector:
    """``faults``: what the next requests get in place of an answer, in order; ``fault`` is what all get."""

    def __init__(self, port: int = 0) -> None:
        self.records: dict[str, dict] = {}
        self.repeated = 0
        self.copies: Counter[str] = Counter()
        self.batches: list[int] = []
        self.dropped = 0
        self.requests: list[dict] = []
        self.faults: list = []
        self.fault = None
        self.reject: list[int] = []
        self.lock = threading.Lock()
        self.arrived = threading.Condition(self.lock)
        self._port = port
        self.start()

    def start(self) -> None:
        self.server = Server(("127.0.0.1", self._port), Handler)
        self.server.collector = self
        self._port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.server.cut()

    @property
    def dsn(self) -> str:
        return f"http://{TOKEN}@127.0.0.1:{self._port}/{SOURCE}"

    def values(self) -> list[dict]:
        with self.lock:
            return list(self.records.values())

    def wait_for(self, count: int, seconds: float = 15) -> list[dict]:
        """The records, once there are so many."""
        with self.arrived:
            self.arrived.wait_for(lambda: len(self.records) >= count, seconds)
        assert len(self.records) >= count, f"{len(self.records)} of {count} arrived"
        return self.values()

    def take(self, records: list[dict], dropped: int) -> dict:
        with self.arrived:
            rejected = [
                {"index": index, "errors": {"status": ["Must be a status."]}}
                for index, record in enumerate(records)
                if record["status"] in self.reject
            ]
            usable = [record for record in records if record["status"] not in self.reject]
            new = {record["reportId"]: record for record in usable if record["reportId"] not in self.records}
            self.copies.update(record["reportId"] for record in usable)
            self.records.update(new)
            self.batches.append(len(records))
            if new:
                self.dropped += dropped
            repeated = len(usable) - len(new)
            self.repeated += repeated
            self.arrived.notify_all()
            return {"accepted": len(new), "repeated": repeated, "rejected": rejected}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request, address):
        self.open.add(request)
        super().process_request(request, address)

    def cut(self) -> None:
        """Close what is open, as a killed process does."""
        for request in list(self.open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, address):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args) -> None:
        pass

    def do_POST(self) -> None:
        collector = self.server.collector
        fault = collector.faults.pop(0) if collector.faults else collector.fault
        body = self.rfile.read(int(self.headers["Content-Length"]))
        collector.requests.append({"headers": dict(self.headers), "length": len(body), "at": time.monotonic()})
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401, {"code": 401, "message": "Invalid token."})
        if self.path != f"/http-traffic-records/{SOURCE}/batch":
            return self.answer(404, {"code": 404, "message": "No such source."})
        if callable(fault):
            return fault(self, body)
        assert self.headers["Content-Encoding"] == "gzip"
        return self.answer(201, self.take(body))

    def take(self, body: bytes) -> dict:
        records = json.loads(gzip.decompress(body))
        assert 0 < len(records) <= 1000
        return self.server.collector.take(records, int(self.headers.get("X-Reports-Dropped", 0)))

    def answer(self, status: int, body: object, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)


def status(code: int, **headers: str):
    """Answers with this status."""
    return lambda handler, body: handler.answer(code, {"code": code, "message": "Told to fail."}, **headers)


def lose_answer(handler, body) -> None:
    """Takes the batch, and dies before it answers."""
    handler.take(body)
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut(handler, body) -> None:
    """Dies before it has taken the batch."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def slow(seconds: float):
    def answer(handler, body) -> None:
        result = handler.take(body)
        time.sleep(seconds)
        handler.answer(201, result)

    return answer


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    collector = Collector(parser.parse_args().port)
    print(collector.dsn, flush=True)
    while True:
        time.sleep(1)
        print(len(collector.records), collector.repeated, collector.dropped, flush=True)
