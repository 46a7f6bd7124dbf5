"""Starts and stops the service's real processes, as an operator does, on a free port."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import psutil
import urllib3

from app.config import SettingsSchema
from tools.story import Client

ROOT = Path(__file__).parents[1]
GUNICORN = [sys.executable, "-m", "gunicorn", "wsgi:app"]
FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]
DISPATCH = [*FLASK, "dispatch"]
MIGRATE = [*FLASK, "db", "upgrade"]

PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.05

T = TypeVar("T")


def eventually(get: Callable[[], T], what: str, within: float = PATIENCE_SECONDS) -> T:
    """Poll ``get`` until its value is true, and return it. Raises TimeoutError after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not (value := get()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {within:g} s: {what}.")
        time.sleep(POLL_SECONDS)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Answer:
    """An HTTP answer with the attributes of werkzeug's test responses."""

    status_code: int
    text: str

    @cached_property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Server:
    """Replaces the application in ``Client``: sends the requests to the server at ``url``."""

    url: str

    def test_client(self) -> "Server":
        return self

    def open(self, path: str, method: str, headers: dict[str, str], json: Any = None) -> Answer:
        # No keep-alive: a request on a connection to a killed server would be lost.
        headers = headers | {"Connection": "close"}
        answer = urllib3.request(
            method, self.url + path, headers=headers, json=json, retries=False, timeout=PATIENCE_SECONDS
        )
        return Answer(answer.status, answer.data.decode())


class Service:
    """Starts processes of the service over one database; ``stop`` kills those that remain.

    ``settings`` are environment variables; settings in the caller's own environment are ignored. ``root`` is the
    folder in which the service is installed. Commands begin with ``prefix``, which runs them on the host ``address``.
    """

    gunicorn = GUNICORN
    # Seconds that a start may take.
    patience = PATIENCE_SECONDS

    def __init__(
        self,
        folder: Path,
        settings: dict[str, str],
        root: Path = ROOT,
        address: str = "127.0.0.1",
        prefix: Sequence[str] = (),
    ) -> None:
        port = settings.get("PORT") or free_port()
        inherited = {name: value for name, value in os.environ.items() if name not in SettingsSchema().fields}
        self.environ = inherited | {"HOST": address, "PORT": str(port)} | settings
        self.root = root
        self.prefix = prefix
        self.server = Server(f"http://{address}:{port}")
        self.client = Client(self.server)  # type: ignore[arg-type]
        self.log_file = folder / "service.log"
        self.started: list[psutil.Popen] = []

    @property
    def log(self) -> str:
        """The output of all its processes."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def run(self, command: list[str], **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        environ = self.environ | settings
        return subprocess.run(
            [*self.prefix, *command],
            cwd=self.root,
            env=environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def migrate(self) -> None:
        done = self.run(MIGRATE)
        assert done.returncode == 0, done.stderr

    def start(self, command: list[str], **settings: str) -> psutil.Popen:
        """Start a process as the leader of a new process group."""
        with self.log_file.open("ab") as log:
            process = psutil.Popen(
                [*self.prefix, *command],
                cwd=self.root,
                env=self.environ | settings,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def serve(self, ready: str = "/readyz", **settings: str) -> psutil.Popen:
        """Start gunicorn, and wait until it answers the path ``ready`` with 200."""
        gunicorn = self.start(self.gunicorn, **settings)
        eventually(lambda: self._answers(gunicorn, ready), f"gunicorn answers {ready} with 200", self.patience)
        return gunicorn

    def dispatch(self, **settings: str) -> psutil.Popen:
        """Start a dispatcher process, and wait until it has started."""
        before = self.dispatchers_started
        process = self.start(DISPATCH, **settings)
        eventually(lambda: self.dispatchers_started > before, "a dispatcher starts")
        return process

    @property
    def dispatchers_started(self) -> int:
        return sum("Dispatcher" in line and line.endswith("started.") for line in self.log.splitlines())

    def _answers(self, gunicorn: psutil.Popen, path: str) -> bool:
        assert gunicorn.poll() is None, f"gunicorn ended:\n{self.log}"
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return self.client.get(path).status_code == 200
        return False

    def stop(self) -> None:
        for process in self.started:
            kill_group(process)


def kill_group(process: psutil.Popen) -> None:
    """Send SIGKILL to the process group of ``process``, which ``Service.start`` started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def dispatchers_of(gunicorn: psutil.Popen) -> list[psutil.Process]:
    return [child for child in gunicorn.children() if _is_dispatcher(child)]


def workers_of(gunicorn: psutil.Popen) -> list[psutil.Process]:
    return [child for child in gunicorn.children() if is_alive(child) and not _is_dispatcher(child)]


def is_alive(process: psutil.Process) -> bool:
    """Whether the process exists and is not a zombie."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _is_dispatcher(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return "dispatch" in process.cmdline()
    return False
