"""Real servers with real applications, as processes of their own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parent
SOURCES = TESTS.parent / "src"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    def __init__(self, command: list[str], dsn: str, log: Path) -> None:
        self.port = free_port()
        self.log = log
        environment = {**os.environ, "PYTHONPATH": f"{SOURCES}:{TESTS}", "ARKYN_DSN": dsn}
        arguments = [part.replace("PORT", str(self.port)) for part in command]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.wait()

    def wait(self, seconds: float = 20) -> None:
        """Until it takes connections."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers={"Host": "api.example.com", **headers})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def leave_early(self, path: str) -> None:
        """Ask for something, and go away before all of it has come."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: api.example.com\r\n\r\n".encode())

    def stop(self, by: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(by)
            try:
                self.process.wait(timeout=15)
            finally:
                self.kill()
        assert "never-logged" not in self.log.read_text()

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait(timeout=10)


def gunicorn(application: str, *options: str) -> list[str]:
    return ["gunicorn", application, "-b", "127.0.0.1:PORT", "--graceful-timeout", "5", *options]


def uvicorn(application: str, *options: str) -> list[str]:
    return ["uvicorn", application, "--host", "127.0.0.1", "--port", "PORT", "--log-level", "warning", *options]
