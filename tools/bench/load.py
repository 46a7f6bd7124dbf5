"""Generates load in a separate process, with wrk or, if it is not installed, ``tools.bench.client``."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRK = shutil.which("wrk")
GENERATOR = "wrk" if WRK else "tools.bench.client (Python: wrk is not installed)"
SCRIPT = Path(__file__).with_name("requests.lua")
CONNECTIONS = 32


class LoadError(Exception):
    """An answer failed or is missing, so the figures are not comparable."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    token: str = ""
    body: Any = None

    @property
    def line(self) -> str:
        body = "" if self.body is None else json.dumps(self.body)
        return f"{self.method}\t{self.path}\t{self.token}\t{body}\n"


@dataclass(frozen=True)
class Outcome:
    """``rate`` in answers per second; ``p50`` and ``p99`` in milliseconds."""

    rate: float
    p50: float
    p99: float


def run(url: str, requests: Sequence[Request], seconds: float, connections: int = CONNECTIONS) -> Outcome:
    """Send ``requests`` in a loop for ``seconds``. Raises LoadError if any answer is missing or not 2xx."""
    with tempfile.NamedTemporaryFile("w", suffix=".requests") as file:
        file.writelines(request.line for request in requests)
        file.flush()
        found = json.loads(_generate(url, file.name, connections, seconds))
    first = f"{requests[0].method} {requests[0].path}"
    if not found["answers"]:
        raise LoadError(f"Not one answer came within {seconds:g} s ({first}).")
    if found["refused"] or found["broken"]:
        raise LoadError(
            f"{found['refused']} of {found['answers']} answers were refusals, {found['broken']} did not come ({first})."
        )
    return Outcome(found["answers"] / found["seconds"], found["p50"], found["p99"])


def _generate(url: str, file: str, connections: int, seconds: float) -> str:
    if WRK:
        # wrk takes whole seconds.
        options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        command = [WRK, *options, "-s", str(SCRIPT), url, "--", file]
    else:
        command = [sys.executable, "-m", "tools.bench.client", url, file, str(connections), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]
