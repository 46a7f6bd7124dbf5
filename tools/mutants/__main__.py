"""``python -m tools.mutants``: breaks the code in small ways, one at a time, and sees whether a test fails.

Works in a copy of the repository. Tries each mutant on SQLite and, if it survives, on PostgreSQL. Exits with 1 if a
mutant survived that docs/mutants.md does not judge to be the same program.
"""

import argparse
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tools.databases import postgresql
from tools.mutants.mutations import Mutant, mutants_of
from tools.mutants.suites import SUITES, Suite

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "mutants.md"
NOT_COPIED = (".git", ".venv", "instance", "node_modules", ".*_cache", ".hypothesis", "__pycache__")
KILLED, TIMED_OUT, SURVIVED, SAME = "killed", "timed out", "survived", "same program"
DATABASES = ("sqlite", "postgresql")
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider"]
# Libraries that the tests use, imported once before forking: importing takes longer than testing most mutants.
LIBRARIES = ("aiohttp.web", "flask_migrate", "flask_smorest", "flask_jwt_extended", "psycopg", "argon2")


def main() -> int:
    given = parse_options()
    same = judged_the_same(DOCUMENT.read_text())
    kept = read_results(given.results)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for library in LIBRARIES:
        importlib.import_module(library)
    with tempfile.TemporaryDirectory(prefix="mutants") as folder, postgresql("mutants") as url:
        os.environ["TEST_DATABASE_URL"] = url
        sys.dont_write_bytecode = True
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
        for path in given.module:
            chosen = choose(mutants_of(path, (ROOT / path).read_bytes(), SUITES[path].functions), given)
            todo = [mutant for mutant in chosen if mutant.name not in kept]
            limits = time_limits(copy, path, given.database) if todo else {}
            for mutant in chosen:
                state = kept.get(mutant.name) or attempt(copy, mutant, limits)
                if state == SURVIVED and mutant.name in same:
                    state = SAME
                found[path][state] += 1
                if mutant in todo:
                    keep_result(given.results, mutant, state)
                print(f"{state:<12} {mutant.path}:{mutant.line} in {mutant.function}: {mutant.change}", flush=True)
    print(table(found))
    return 1 if any(counts[SURVIVED] for counts in found.values()) else 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutants", description=__doc__.partition("\n")[0].partition(": ")[2]
    )
    parser.add_argument(
        "--module", action="append", choices=list(SUITES), metavar="PATH", help="only this module; may be repeated"
    )
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="a random sample of N of each module (default: all); a larger sample contains the smaller one",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants whose description contains this text")
    parser.add_argument(
        "--database", action="append", choices=DATABASES, help="only on this one (default: SQLite, then PostgreSQL)"
    )
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="store results there, and skip mutants that were killed"
    )
    given = parser.parse_args()
    given.module = given.module or list(SUITES)
    given.database = given.database or list(DATABASES)
    return given


def choose(mutants: list[Mutant], given: argparse.Namespace) -> list[Mutant]:
    named = [mutant for mutant in mutants if given.only in mutant.name]
    if given.sample is None or given.sample >= len(named):
        return named
    shuffled = random.Random(given.seed).sample(named, len(named))
    return sorted(shuffled[: given.sample], key=lambda mutant: mutant.begin)


def judged_the_same(text: str) -> set[str]:
    """The names of the mutants in the document's table: | module | function | `change` | reason |"""
    rows = re.findall(r"^\| `(app/\S+)` \| `(\S+)` \| ``? ?(.+?) ?`?` \| .+ \|$", text, re.MULTILINE)
    return {f"{path} {function}: {change}".replace("\\|", "|") for path, function, change in rows}


def read_results(file: Path | None) -> dict[str, str]:
    if file is None or not file.exists():
        return {}
    noted = [json.loads(line) for line in file.read_text().splitlines()]
    return {each["mutant"]: each["state"] for each in noted if each["state"] != SURVIVED}


def keep_result(file: Path | None, mutant: Mutant, state: str) -> None:
    if file is not None:
        with file.open("a") as opened:
            opened.write(json.dumps({"mutant": mutant.name, "state": SURVIVED if state == SAME else state}) + "\n")


def time_limits(copy: Path, path: str, databases: list[str]) -> dict[str, float]:
    """Seconds by database: several times the duration of the tests without a mutant. Exits if these fail."""
    limits = {}
    for database in databases:
        if database == "postgresql" and not SUITES[path].uses_a_database:
            continue
        began = time.monotonic()
        if run(copy, SUITES[path], database, 900) != 0:
            print((copy.parent / "output").read_text()[-4000:], file=sys.stderr)
            sys.exit(f"The tests of {path} fail on {database} without any mutant.")
        limits[database] = 3 * (time.monotonic() - began) + 20
    return limits


def attempt(copy: Path, mutant: Mutant, limits: dict[str, float]) -> str:
    with mutated(copy, mutant):
        for database, seconds in limits.items():
            code = run(copy, SUITES[mutant.path], database, seconds)
            if code is None:
                return TIMED_OUT
            if code != 0:
                return KILLED
    return SURVIVED


@contextmanager
def mutated(copy: Path, mutant: Mutant) -> Iterator[None]:
    file = copy / mutant.path
    source = file.read_bytes()
    file.write_bytes(mutant.applied(source))
    try:
        yield
    finally:
        file.write_bytes(source)


def run(copy: Path, suite: Suite, database: str, seconds: float) -> int | None:
    """pytest's exit code on one database; None after more than ``seconds``."""
    chosen = "postgresql" if database == "postgresql" else "not postgresql"
    arguments = [*OPTIONS, "-k", chosen, *suite.tests]
    child = os.fork()
    if child == 0:
        pytest_in_child(copy, arguments)
    deadline = time.monotonic() + seconds
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def pytest_in_child(copy: Path, arguments: list[str]) -> NoReturn:
    """Run pytest in this forked process, with the libraries loaded but not the application, and exit."""
    os.setsid()
    os.chdir(copy)
    output = os.open(copy.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.path[:] = [str(copy), *(path for path in sys.path if path not in ("", str(ROOT)))]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "tools")]:
        del sys.modules[name]
    code = 70
    try:
        code = int(pytest.main(arguments))
    finally:
        os._exit(code)


def table(found: dict[str, Counter[str]]) -> str:
    lines = [
        "| module | mutants | killed | timed out | survived | same program |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for path, counts in found.items():
        numbers = [counts.total(), *(counts[state] for state in (KILLED, TIMED_OUT, SURVIVED, SAME))]
        lines.append(f"| `{path}` | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
