"""``python -m tools.hosts``: partitions, kills and upgrades the hosts of one service, and counts what arrives.

Makes and removes the hosts itself, as network namespaces. Exits with 1 if an event was lost, or a message sent twice by
the bot, or not delivered in time.
"""

import argparse
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tools.hosts import network
from tools.hosts.rows import FAULTS, Fault
from tools.hosts.scene import Hosts, Outage, hosts
from tools.hosts.table import document, line, table


def main() -> int:
    options = parse_options()
    # End as after Ctrl-C, so that all hosts are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if lack := network.lack():
        print(f"NOT TESTED: several hosts: {lack}")
        return 0
    began = time.monotonic()
    outages: list[Outage] = []
    failures: list[str] = []
    for both_addresses, faults in FAULTS.items():
        chosen = [fault for fault in faults if options.only in fault.name and not is_skipped(fault)]
        if chosen:
            run(chosen, both_addresses, outages, failures)
    print(f"{table(outages)}\n\n{time.monotonic() - began:.0f} s in all.")
    if options.write:
        options.write.write_text(document(outages))
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures else 0


def is_skipped(fault: Fault) -> bool:
    if lack := fault.lacks():
        print(f"NOT TESTED: {fault.name}: {lack}")
    return bool(lack)


def run(faults: list[Fault], both_addresses: bool, outages: list[Outage], failures: list[str]) -> None:
    """Append the outage of each fault, and what went wrong. After an exception, leave the other faults out."""
    fault = faults[0]
    try:
        with tempfile.TemporaryDirectory(prefix="hosts") as folder, hosts(Path(folder), both_addresses) as scene:
            for fault in faults:
                outage = measure(scene, fault, failures)
                outages.append(outage)
                print(line(outage), file=sys.stderr, flush=True)
    except Exception as error:
        traceback.print_exc()
        failures.append(f"{fault.name}: {error}")


def measure(scene: Hosts, fault: Fault, failures: list[str]) -> Outage:
    try:
        with scene.load(fault.name) as targets:
            fault.strike(scene)
        outage = scene.outage(targets)
    except Exception:
        print(scene.logs, file=sys.stderr)
        raise
    problems = [*outage.row.problems, *(odd for target in targets for odd in target.odd)]
    failures += [f"{fault.name}: {problem}" for problem in problems]
    return outage


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.hosts", description=(__doc__ or "").partition(":")[2])
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="only faults with such a name")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table there, with how to repeat it")
    return parser.parse_args()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.exit(status)
