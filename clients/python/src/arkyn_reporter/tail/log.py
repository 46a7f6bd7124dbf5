"""A log: the file at its path, and those that were rotated away before all their lines were delivered."""

from __future__ import annotations

import os
import re
import time
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from arkyn_reporter.log import SaidOnce, logger
from arkyn_reporter.tail.files import Line, LineFile, Truncated
from arkyn_reporter.tail.state import Position

# A server writes on into a file that was renamed until it is told to open its log again.
GRACE_SECONDS = 600.0
# File systems note times a little late.
CLOCK_SECONDS = 2.0
MAX_KNOWN = 100
TRIES = 10
# What reading raises, that of a compressed file that is not whole included.
UNREADABLE = (OSError, EOFError, zlib.error)


class Log:
    def __init__(self, path: Path, positions: Sequence[Position] | None, seen_at: float, from_start: bool) -> None:
        """``positions`` are those that were saved at ``seen_at``; None begins anew."""
        self.path = path.absolute()
        self.name = str(self.path)
        self._files: list[LineFile] = []
        self._finished: deque[str] = deque(maxlen=MAX_KNOWN)
        # When all of its files were last looked at.
        self.seen_at = seen_at
        self._said = SaidOnce()
        if positions is None:
            self._begin(from_start)
        else:
            self._resume(positions)

    def positions(self) -> list[Position]:
        return [position for file in self._files if (position := file.position()) is not None]

    def bytes_left(self) -> tuple[int, int]:
        """How much is still to be read, and how much there is."""
        sizes = [file.size() for file in self._files]
        return sum(sizes) - sum(file.offset for file in self._files), sum(sizes)

    def read_lines(self, max_lines: int) -> list[Line]:
        """The next lines, of the oldest file first; none where all was read."""
        looked_at = time.time()
        self._look_for_rotation()
        lines: list[Line] = []
        for file in list(self._files):
            if len(lines) >= max_lines:
                # The rest may be cut off before it is looked at again: what came meanwhile is to be found then.
                return lines
            if file in self._files:
                lines += self._read(file, max_lines - len(lines))
        self.seen_at = max(self.seen_at, looked_at)
        return lines

    def close(self) -> None:
        for file in self._files:
            file.close()

    # Reading.

    def _read(self, file: LineFile, max_lines: int) -> list[Line]:
        is_fresh = file.head is None
        try:
            lines = file.read_lines(max_lines)
        except Truncated:
            self._follow_truncation(file)
            return self.read_lines(max_lines)
        except UNREADABLE as error:
            self._said.warn(f"read {file.path}", "%s cannot be read: %s", file.path, error)
            return []
        if is_fresh and file.head is not None:
            # It may have been filled, copied and cut off since it was empty.
            self._take_new(self._open_all(self.seen_at))
        if lines:
            # It is still written to, so it is kept for as long again.
            file.retired_at = file.retired_at and time.monotonic()
        elif self._is_over(file):
            lines = file.read_rest()
            self._finish(file)
        return lines

    def _is_over(self, file: LineFile) -> bool:
        if file.retired_at is None:
            return False
        return file.is_final or time.monotonic() - file.retired_at > GRACE_SECONDS

    def _finish(self, file: LineFile) -> None:
        file.close()
        self._files = [other for other in self._files if other is not file]
        if file.head is not None:
            self._finished.append(file.head)

    # Rotation.

    def _look_for_rotation(self) -> None:
        try:
            inode = os.stat(self.path).st_ino
        except OSError:
            return
        if not any(file.inode == inode and file.retired_at is None for file in self._files):
            for file in self._files:
                file.retired_at = file.retired_at or time.monotonic()
            self._take_new(self._open_all(self.seen_at))

    def _take_new(self, found: Sequence[LineFile]) -> None:
        """Read, of the files found, the log itself, and what was rotated and written to since anybody looked."""
        for file in found:
            if self._knows(file):
                file.close()
            elif file.path == self.path:
                self._files.append(file)
            elif file.head is not None and file.written_at() > self.seen_at - CLOCK_SECONDS:
                self._add_retired(file)
            else:
                file.close()

    def _knows(self, file: LineFile) -> bool:
        for known in self._files:
            known.find_head()
        if file.head is None:
            return any(known.inode == file.inode and known.head is None for known in self._files)
        return file.head in self._finished or any(file.head == known.head for known in self._files)

    def _add_retired(self, file: LineFile) -> None:
        file.retired_at = time.monotonic()
        self._files.append(file)

    def _follow_truncation(self, file: LineFile) -> None:
        """Read what was left in the copy, and begin anew with the file itself."""
        self._files.remove(file)
        file.close()
        found = self._open_all()
        position = file.position()
        if position is not None:
            copy = _take(found, position, other_than=file.inode)
            if copy is None:
                logger.info("%s was truncated at %d, and no copy of it is found.", self.name, position.offset)
            else:
                copy.is_final = True
                self._add_retired(copy)
        if file.retired_at is None:
            self._take_new(found)
        else:
            _close_all(found)

    # Beginning.

    def _begin(self, from_start: bool) -> None:
        self.seen_at = time.time()
        for file in self._open_all(self.seen_at):
            if file.path == self.path:
                self._files.append(file)
            else:
                # It was rotated before the beginning, however lately.
                self._finish(file)
        if not self._files:
            logger.info("%s does not exist yet.", self.name)
        if not from_start:
            for file in self._files:
                file.skip_to_end()

    def _resume(self, positions: Sequence[Position]) -> None:
        found = self._open_all()
        for position in positions:
            file = _take(found, position)
            if file is None:
                logger.warning("What follows byte %d of an earlier %s is not found.", position.offset, self.name)
            elif file.path == self.path:
                self._files.append(file)
            else:
                self._add_retired(file)
        _close_all(found)

    # Finding files.

    def _open_all(self, written_since: float = 0.0) -> list[LineFile]:
        """The log, and what rotation made of it, oldest first.

        Names move while they are read: it begins again until all of them stood still.
        """
        files: list[LineFile] = []
        for _ in range(TRIES):
            _close_all(files)
            names = self._names()
            paths = [path for path, written_at in self._dated(names) if written_at > written_since - CLOCK_SECONDS]
            files = [file for path in [*paths, self.path] if (file := self._open(path)) is not None]
            if self._names() == names:
                break
        return files

    def _names(self) -> dict[str, int]:
        """The name and inode of each file of this log."""
        pattern = rotated_names(self.path)
        try:
            with os.scandir(self.path.parent) as entries:
                return {
                    entry.name: entry.inode()
                    for entry in entries
                    if entry.name == self.path.name or pattern.fullmatch(entry.name)
                }
        except OSError:
            return {}

    def _dated(self, names: Iterable[str]) -> list[tuple[Path, float]]:
        """The rotated files and when they were written to, the oldest first; compressed ones after what they hold."""
        paths = [self.path.with_name(name) for name in names if name != self.path.name]
        dated = [(path, _written_at(path)) for path in paths if path.is_file()]
        return sorted(dated, key=lambda pair: (pair[1], pair[0].suffix == ".gz"))

    def _open(self, path: Path) -> LineFile | None:
        try:
            return LineFile(path)
        except FileNotFoundError:
            return None
        except UNREADABLE as error:
            self._said.warn(f"open {path}", "%s cannot be opened: %s", path, error)
            return None


def _take(found: list[LineFile], position: Position, other_than: int | None = None) -> LineFile | None:
    """Take from the files the one that begins with this head: that of the same inode if there are several."""
    same = [file for file in found if file.head == position.head and file.inode != other_than]
    best = min(same, key=lambda file: (file.inode != position.inode, file.is_compressed), default=None)
    if best is not None:
        found.remove(best)
        best.offset = position.offset
    return best


def _close_all(files: Iterable[LineFile]) -> None:
    for file in files:
        file.close()


def _written_at(path: Path) -> float:
    """0 for a file that has just gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def rotated_names(path: Path) -> re.Pattern[str]:
    """logrotate's ``access.log.1``, ``access.log-20250721`` and the like, and Caddy's ``access-2025-07-21T….log``."""
    name, stem, suffix = re.escape(path.name), re.escape(path.stem), re.escape(path.suffix)
    moment = r"\d[\dTZ.:_+-]*"
    return re.compile(rf"{name}(?:[.-]{moment}|\.old)(?:\.gz)?|{stem}-{moment}{suffix}(?:\.gz)?")
