"""``python -m arkyn_reporter``"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from arkyn_reporter.tail import command
from arkyn_reporter.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="arkyn_reporter", description="Reports HTTP traffic to arkyn webhooks.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tail = commands.add_parser("tail", help="report the lines of access logs, as they come")
    command.add_arguments(tail)
    return command.run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
