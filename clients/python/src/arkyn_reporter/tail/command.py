"""``python -m arkyn_reporter tail``: reads logs, delivers their lines, and notes how far it came."""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from arkyn_reporter.batch import MAX_RECORDS, in_turns
from arkyn_reporter.dsn import Dsn, InvalidDsn, parse_dsn
from arkyn_reporter.globs import compile_globs
from arkyn_reporter.log import SaidOnce, logger
from arkyn_reporter.redaction import Redactor
from arkyn_reporter.report import Unusable, encode
from arkyn_reporter.sender import Sender
from arkyn_reporter.tail.delivery import Delivery
from arkyn_reporter.tail.files import Line
from arkyn_reporter.tail.formats import NoAccessLine, parse_line
from arkyn_reporter.tail.log import Log
from arkyn_reporter.tail.progress import Progress
from arkyn_reporter.tail.state import State, StateUnusable

POLL_SECONDS = 0.5
TIMEOUT_SECONDS = 30.0


class Tail:
    def __init__(self, options: argparse.Namespace, dsn: Dsn, state: State) -> None:
        self._state = state
        self._follow = not options.no_follow
        self._ignored = compile_globs(options.ignore)
        self._redactor = Redactor(options.redact)
        self._domain_url: str | None = options.domain_url
        self._host = socket.gethostname()
        self._delivery = Delivery(Sender(dsn, TIMEOUT_SECONDS), dsn.service)
        self._progress = Progress()
        self._said = SaidOnce()
        self.no_access_lines = 0
        self._logs = [self._open(path, options.start == "start") for path in options.files]

    def _open(self, path: Path, from_start: bool) -> Log:
        positions = self._state.positions(str(path.absolute()))
        return Log(path, positions, self._state.seen_at, from_start)

    def run(self) -> None:
        """Until it is stopped or, where it does not follow, until all was read."""
        self._save()
        while True:
            lines = self._read()
            self._deliver(lines)
            if lines:
                self._save()
            elif self._follow:
                time.sleep(POLL_SECONDS)
            else:
                return

    def summary(self) -> str:
        return (
            f"{self._delivery.delivered:,} lines delivered, {self._delivery.rejected:,} rejected by the service, "
            f"{self.no_access_lines:,} were no access log lines."
        )

    def _read(self) -> list[tuple[Log, Line]]:
        share = max(MAX_RECORDS // len(self._logs), 1)
        return [(log, line) for log in self._logs for line in log.read_lines(share)]

    def _deliver(self, lines: Sequence[tuple[Log, Line]]) -> None:
        encoded = (self._encode(log, line) for log, line in in_turns(lines))
        records = [record for record in encoded if record is not None]
        if records:
            self._delivery.deliver(records)
        left, total = (sum(column) for column in zip(*(log.bytes_left() for log in self._logs)))
        self._progress.note(len(lines), left, total)

    def _encode(self, log: Log, line: Line) -> bytes | None:
        """The line as a record; None for one that is ignored, or tells of no request."""
        try:
            if line.text is None:
                raise NoAccessLine
            report = parse_line(line.text, self._host)
            if self._ignored is not None and self._ignored.fullmatch(report.path):
                return None
            report = report._replace(report_id=self._report_id(log, line))
            return encode(report, self._redactor, self._domain_url)
        except (NoAccessLine, Unusable):
            self.no_access_lines += 1
            self._said.warn(
                log.name, "%s holds lines that are no access log lines, first at byte %d.", log.name, line.offset
            )
            return None

    def _report_id(self, log: Log, line: Line) -> str:
        """The same for the same line, however often it is read, and under whatever name or inode its file goes by."""
        place = f"{self._state.id}\n{log.name}\n{line.file.head}\n{line.offset}\n".encode()
        return hashlib.sha256(place + (line.text or b"")).hexdigest()[:40]

    def _save(self) -> None:
        """A full disk keeps nobody from reporting: what is sent again is recognised by the service."""
        try:
            self._state.save({log.name: log.positions() for log in self._logs}, min(log.seen_at for log in self._logs))
        except StateUnusable as error:
            self._said.warn("state", "%s", error)
        else:
            self._said.clear("state")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an access log")
    parser.add_argument("--dsn", help="by default ARKYN_DSN, which other users of the host cannot see")
    parser.add_argument(
        "--state", type=Path, default=default_state(), help="where to note how far it came (%(default)s)"
    )
    parser.add_argument(
        "--from",
        dest="start",
        choices=("start", "end"),
        default="end",
        help="where to begin with a log that the state file does not know (%(default)s)",
    )
    parser.add_argument("--no-follow", action="store_true", help="end once all was read")
    parser.add_argument("--domain-url", help="report this, such as https://api.example.com, as the host of every line")
    parser.add_argument("--ignore", action="append", default=[], metavar="GLOB", help="a path not to report")
    parser.add_argument("--redact", action="append", default=[], metavar="NAME", help="one more name to redact")


def default_state() -> Path:
    folder = os.environ.get("STATE_DIRECTORY")
    if folder:
        return Path(folder.partition(":")[0]) / "tail.json"
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "arkyn-reporter" / "tail.json"


def run(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    missing = [str(path) for path in options.files if not path.exists()] if options.no_follow else []
    if missing:
        logger.error("There is no such file: %s.", ", ".join(missing))
        return 2
    try:
        dsn = parse_dsn(options.dsn or os.environ.get("ARKYN_DSN", ""))
        tail = Tail(options, dsn, State(options.state))
    except InvalidDsn as error:
        logger.error("--dsn or ARKYN_DSN cannot be used: %s.", error)
        return 2
    except StateUnusable as error:
        logger.error("%s", error)
        return 2
    try:
        tail.run()
    finally:
        logger.info("%s", tail.summary())
    return 0


def _stop(_signal: int, _frame: object) -> NoReturn:
    """End at once: what was not saved is read, and recognised, the next time."""
    sys.exit(0)
