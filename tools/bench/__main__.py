"""``python -m tools.bench``: benchmarks the service in turns with its baselines, and prints the ratios.

Exits with 1 if a work could not be measured. A missed target is shown, but is no failure.
"""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tools.bench.report import EMPTY, FULL, HEADER, Row, circumstances, document, line, tables
from tools.bench.servers import Bench, Options
from tools.bench.standin import recording_discord
from tools.bench.works import WORKS
from tools.faults.databases import POSTGRESQL, SQLITE, databases
from tools.processes import ROOT

DATABASES = {"postgresql": POSTGRESQL, "sqlite": SQLITE}
DOCUMENT = ROOT / "docs" / "performance.md"


def main() -> int:
    given = parse_options()
    options = Options(given.state, given.rounds, given.seconds, given.records)
    began = time.monotonic()
    rows: list[Row] = []
    failures: list[str] = []
    versions: list[str] = []
    with recording_discord() as discord:
        url = discord.serve()
        for name in given.database:
            with (
                databases(DATABASES[name], durable=True) as make,
                tempfile.TemporaryDirectory(prefix="bench") as folder,
            ):
                bench = Bench(DATABASES[name], make, Path(folder), discord, url, options)
                versions.append(bench.version)
                for work in given.only:
                    measure(bench, work, rows, failures)
    print(tables(rows))
    print(f"\n{time.monotonic() - began:.0f} s in all.", file=sys.stderr)
    if given.write:
        DOCUMENT.write_text(document(rows, circumstances(versions, given.rounds, given.seconds), failures))
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures else 0


def measure(bench: Bench, work: str, rows: list[Row], failures: list[str]) -> None:
    """Append a work's rows, printing each; append a failure if it raises, so that the other works are measured."""
    print(f"\n{bench.database}, {work}:\n{HEADER}", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        for row in WORKS[work](bench):
            rows.append(row)
            print(line(row), file=sys.stderr, flush=True)
    except Exception as error:
        traceback.print_exc()
        failures.append(f"{bench.database}, {work}: {error}")
    print(f"({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description="Measures the service beside its baselines."
    )
    add_choice(parser, "--only", list(WORKS), "works")
    add_choice(parser, "--database", list(DATABASES), "databases")
    add_choice(parser, "--state", [EMPTY, FULL], "states of the database")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement, whose median counts (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3, help="of load in each measurement (%(default)s)")
    parser.add_argument(
        "--records", type=int, default=1_000_000, help="in the full database; a tenth of it of webhooks (%(default)s)"
    )
    parser.add_argument("--write", action="store_true", help=f"write the tables to {DOCUMENT.relative_to(ROOT)}")
    return parser.parse_args()


def add_choice(parser: argparse.ArgumentParser, name: str, all_of_them: list[str], what: str) -> None:
    def some(given: str) -> list[str]:
        if unknown := set(given.split(",")) - set(all_of_them):
            raise argparse.ArgumentTypeError(f"no such {what}: {', '.join(sorted(unknown))}")
        return given.split(",")

    parser.add_argument(
        name, type=some, default=all_of_them, metavar="NAMES", help=f"{what}, by commas: {', '.join(all_of_them)}"
    )


if __name__ == "__main__":
    sys.exit(main())
