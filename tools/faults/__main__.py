"""``python -m tools.faults``: kills, stops and cuts off the real service, and counts the messages that arrive.

Exits with 1 if an event was lost, a message sent twice by the bot, or not delivered in time.
"""

import argparse
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.faults.databases import POSTGRESQL, SQLITE, Database, databases
from tools.faults.rows import SCENARIOS, Scenario
from tools.faults.scenario import Row, Scene
from tools.faults.standin import FaultyDiscord
from tools.faults.table import document, line, table, waits

NAMES = {"sqlite": SQLITE, "postgresql": POSTGRESQL}


def main() -> int:
    options = parse_options()
    names = [NAMES[options.database]] if options.database else list(NAMES.values())
    scenarios = [scenario for scenario in SCENARIOS if any(options.only in fault for fault in scenario.faults)]
    began = time.monotonic()
    rows: list[Row] = []
    failures: list[str] = []
    skipped: list[str] = []
    for name in names:
        with databases(name) as make_database:
            for scenario in scenarios:
                if not scenario.runs_on(name):
                    continue
                if lack := scenario.lacks():
                    skipped += [f"{name}, {fault}: {lack}" for fault in scenario.faults]
                    continue
                try:
                    for row in run(scenario, make_database):
                        rows.append(row)
                        print(line(row), file=sys.stderr, flush=True)
                except Exception as error:
                    traceback.print_exc()
                    failures.append(f"{name}, {scenario.run.__name__}: {error}")
    rows.sort(key=place)
    print(f"{table(rows)}\n\n{waits(rows)}")
    print(f"\n{time.monotonic() - began:.0f} s in all.", file=sys.stderr)
    if options.write:
        options.write.write_text(document(rows))
    failures += [f"{row.database}, {row.name}: {problem}" for row in rows for problem in row.problems]
    for fault in skipped:
        print(f"SKIPPED: {fault}", file=sys.stderr)
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures or not (rows or skipped) else 0


def place(row: Row) -> tuple[int, int, bool]:
    """The sort key of a row in the table, since rows come as they finish."""
    faults = [fault for scenario in SCENARIOS for fault in scenario.faults]
    return list(NAMES.values()).index(row.database), faults.index(row.fault), not row.by_bot


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description=__doc__.partition(":")[2])
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="only scenarios with such a fault")
    parser.add_argument("--database", choices=NAMES, help="only on this one")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table there, with how to repeat it")
    return parser.parse_args()


def run(scenario: Scenario, make_database: Callable[[Path], Database]) -> Iterator[Row]:
    discord = FaultyDiscord(bot_token=secrets.token_urlsafe())
    discord.start()
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        scene = Scene(make_database(Path(folder)), discord, Path(folder))
        try:
            yield from scenario.run(scene)
        except Exception:
            print(scene.service.log[-5000:], file=sys.stderr)
            raise
        finally:
            scene.service.stop()
            discord.stop()


if __name__ == "__main__":
    sys.exit(main())
