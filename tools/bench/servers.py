"""Runs the measured servers: the baselines, and the service over an empty and a full database."""

import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import urllib3
from sqlalchemy import Engine

from tools.bench import load, seeding
from tools.bench.report import EMPTY, FULL
from tools.bench.standin import BOT_TOKEN
from tools.faults.databases import Database
from tools.faults.scenario import PATIENCE_SECONDS, Service
from tools.processes import GUNICORN, dispatchers_of, eventually, workers_of
from tools.story import Client, json_of

# Load before measuring, to open connections and fill caches.
WARM_UP_SECONDS = 2
BASELINE_REQUEST = load.Request("POST", "/rows", body={"type": "discord", "level": "fatal", "value": "123456789"})
SETTINGS = {
    "WEB_CONCURRENCY": "2",
    "DISCORD_BOT_TOKEN": BOT_TOKEN,
    "JWT_SECRET_KEY": secrets.token_urlsafe(48),
    # No recovery notices among the measured messages.
    "RECOVERY_AFTER_SECONDS": "86400",
}


@dataclass(frozen=True)
class Options:
    """The command line's options. ``records`` is the number of records in the full database."""

    states: list[str]
    rounds: int
    seconds: float
    records: int


class Baseline(Service):
    """B0 or B1 with its own database."""

    def __init__(self, folder: Path, database: Database, app: str) -> None:
        super().__init__(folder, SETTINGS | {"DATABASE_URL": database.url, "EMBEDDED_DISPATCHER": "false"})
        self.app = app

    def prepare(self) -> None:
        """Create the tables, serve, and warm up."""
        created = self.run([sys.executable, "-m", "tools.bench.baselines"])
        assert created.returncode == 0, created.stderr
        gunicorn = self.start([*GUNICORN[:-1], f"tools.bench.baselines:{self.app}"])
        eventually(lambda: self._answers(gunicorn, "/healthz"), f"{self.app} answers", PATIENCE_SECONDS)
        self.measure(WARM_UP_SECONDS)

    def measure(self, seconds: float) -> load.Outcome:
        return load.run(self.server.url, [BASELINE_REQUEST], seconds)


class State:
    """The service over an empty or full database. Does not run until ``start``."""

    def __init__(self, name: str, database: Database, folder: Path, settings: dict[str, str]) -> None:
        self.name = name
        self.database = database
        self.service = Service(folder, SETTINGS | {"DATABASE_URL": database.url} | settings)

    @cached_property
    def engine(self) -> Engine:
        return self.database.engine

    @property
    def url(self) -> str:
        return self.service.server.url

    @cached_property
    def client(self) -> Client:
        """A client signed in as a new user, while the service runs."""
        return self.service.client.sign_up(f"bench-{secrets.token_hex(8)}@example.com")

    @property
    def token(self) -> str:
        return self.client.token or ""

    @cached_property
    def user_id(self) -> str:
        return str(json_of(self.client.get("/user"))["id"])

    def start(self, ready: str = "/readyz") -> None:
        """Start gunicorn with its embedded dispatcher, and wait until it answers the path ``ready``."""
        self.gunicorn = self.service.serve(ready)

    def wait_until_ready(self) -> None:
        """Wait until /readyz answers 200, for which a dispatcher must run."""
        eventually(
            lambda: self.service.client.get("/readyz").status_code == 200, "/readyz answers 200", PATIENCE_SECONDS
        )

    def stop(self) -> None:
        """Send SIGTERM, as an operator does, then kill the processes that remain."""
        for process in self.service.started:
            process.terminate()
        psutil.wait_procs(self.service.started, timeout=PATIENCE_SECONDS)
        self.service.stop()
        self.service.started.clear()
        self.engine.dispose()

    @property
    def workers(self) -> list[psutil.Process]:
        return workers_of(self.gunicorn)

    @property
    def dispatcher(self) -> psutil.Process:
        return dispatchers_of(self.gunicorn)[0]

    def wait_until_delivered(self, within: float = PATIENCE_SECONDS) -> None:
        """Wait until no delivery is open, so that none disturbs the next measurement."""
        eventually(lambda: not seeding.count_open(self.engine), "all is delivered", within)


@dataclass
class Bench:
    """The means to measure works on one kind of database."""

    database: str
    make_database: Callable[[Path], Database]
    folder: Path
    discord: Any
    discord_url: str
    options: Options

    @property
    def version(self) -> str:
        """The database's name and version."""
        engine = self.make_database(self.new_folder()).engine
        with engine.connect():
            return f"{self.database} {'.'.join(map(str, engine.dialect.server_version_info or ()))}"

    def new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))

    @cached_property
    def full_database(self) -> Database:
        """The full database, filled at the first use and shared by all works."""
        made = self._empty_database()
        began = time.monotonic()
        seeding.fill(made.engine, self.options.records)
        print(f"Filled {made.name} in {time.monotonic() - began:.0f} s.", file=sys.stderr, flush=True)
        return made

    def states(self, **settings: str) -> list[State]:
        """The states chosen on the command line, not running; an empty one has a fresh database."""
        made: dict[str, Callable[[], Database]] = {EMPTY: self._empty_database, FULL: lambda: self.full_database}
        return [self._state(name, made[name](), settings) for name in self.options.states]

    @contextmanager
    def running(self, ready: str = "/readyz", **settings: str) -> Iterator[list[State]]:
        """All ``states``, running at the same time, to be measured in turns."""
        states = self.states(**settings)
        try:
            for state in states:
                state.start(ready)
            yield states
        except Exception:
            print(*(state.service.log[-3000:] for state in states), sep="\n", file=sys.stderr)
            raise
        finally:
            for state in states:
                state.stop()

    @contextmanager
    def baseline(self, app: str) -> Iterator[Baseline]:
        """B0 or B1, running."""
        folder = self.new_folder()
        baseline = Baseline(folder, self.make_database(folder), app)
        try:
            baseline.prepare()
            yield baseline
        finally:
            baseline.stop()

    def _empty_database(self) -> Database:
        folder = self.new_folder()
        made = self.make_database(folder)
        Service(folder, {"DATABASE_URL": made.url}).migrate()
        return made

    def _state(self, name: str, database: Database, settings: dict[str, str]) -> State:
        return State(name, database, self.new_folder(), {"DISCORD_API_URL": self.discord_url} | settings)


def http_pool(url: str, connections: int) -> urllib3.HTTPConnectionPool:
    """A pool of kept-alive connections for reports."""
    return urllib3.connection_from_url(url, maxsize=connections, block=True, retries=False, timeout=PATIENCE_SECONDS)
