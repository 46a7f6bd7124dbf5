"""A log: the file at its path, and those that were rotated away before all their lines were delivered."""

from __future__ import annotations

import os
import re
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from arkyn_reporter.log import SaidOnce, logger
from arkyn_reporter.tail.files import Line, LineFile, Truncated
from arkyn_reporter.tail.state import Position

# A server writes on into a file that was renamed until it is told to open its log again.
GRACE_SECONDS = 600.0
# File systems note times a little late.
CLOCK_SECONDS = 2.0
MAX_KNOWN = 100
# What reading raises, that of a compressed file that is not whole included.
UNREADABLE = (OSError, EOFError, zlib.error)


class Log:
    def __init__(self, path: Path, positions: Sequence[Position] | None, seen_at: float, from_start: bool) -> None:
        """``positions`` are those that were saved at ``seen_at``; None begins anew."""
        self.path = path.absolute()
        self.name = str(self.path)
        self._files: list[LineFile] = []
        self._finished: deque[str] = deque(maxlen=MAX_KNOWN)
        self._seen_at = seen_at
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
            if len(lines) < max_lines and file in self._files:
                lines += self._read(file, max_lines - len(lines))
        self._seen_at = max(self._seen_at, looked_at)
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
            self._add_missed()
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
            self._retire_all()
            self._add_missed()
            self._open_current()

    def _retire_all(self) -> None:
        for file in self._files:
            file.retired_at = file.retired_at or time.monotonic()

    def _add_missed(self) -> None:
        """Files that came and went while nobody looked: rotated ones that were written to since."""
        for path in self._rotated():
            file = self._open(path) if _written_at(path) > self._seen_at - CLOCK_SECONDS else None
            if file is not None and file.head is not None and not self._knows(file):
                self._add_retired(file)
            elif file is not None:
                file.close()

    def _knows(self, file: LineFile) -> bool:
        for known in self._files:
            known.find_head()
        return file.head in self._finished or any(file.head == known.head for known in self._files)

    def _add_retired(self, file: LineFile) -> None:
        file.retired_at = time.monotonic()
        self._files.append(file)

    def _open_current(self) -> None:
        file = self._open(self.path)
        if file is not None:
            self._files.append(file)

    def _follow_truncation(self, file: LineFile) -> None:
        """Read what was left in the copy, and begin anew with the file itself."""
        position = file.position()
        self._files.remove(file)
        file.close()
        if position is not None:
            copy = self._find(position, self._rotated(), other_than=file.inode)
            if copy is None:
                logger.info("%s was truncated at %d, and no copy of it is found.", self.name, position.offset)
            else:
                copy.is_final = True
                self._add_retired(copy)
        if file.retired_at is None:
            self._add_missed()
            self._open_current()

    # Beginning.

    def _begin(self, from_start: bool) -> None:
        self._seen_at = time.time()
        self._leave_alone(self._rotated())
        if not self.path.exists():
            logger.info("%s does not exist yet.", self.name)
            return
        self._open_current()
        if not from_start:
            for file in self._files:
                file.skip_to_end()

    def _leave_alone(self, paths: Sequence[Path]) -> None:
        """What was rotated before the beginning is nobody's business, however lately."""
        for path in paths[-3:]:
            file = self._open(path)
            if file is not None:
                self._finish(file)

    def _resume(self, positions: Sequence[Position]) -> None:
        paths = [self.path, *self._rotated()]
        for position in positions:
            file = self._find(position, paths)
            if file is None:
                logger.warning("What follows byte %d of an earlier %s is not found.", position.offset, self.name)
            elif file.path == self.path:
                self._files.append(file)
            else:
                self._add_retired(file)

    def _find(self, position: Position, paths: Sequence[Path], other_than: int | None = None) -> LineFile | None:
        """The file that begins with this head: the one of the same inode if there are several."""
        found = [file for path in paths if (file := self._open(path, position.offset)) is not None]
        same = [file for file in found if file.head == position.head and file.inode != other_than]
        best = min(same, key=lambda file: (file.inode != position.inode, file.is_compressed), default=None)
        for file in found:
            if file is not best:
                file.close()
        return best

    def _open(self, path: Path, offset: int = 0) -> LineFile | None:
        try:
            return LineFile(path, offset)
        except UNREADABLE as error:
            self._said.warn(f"open {path}", "%s cannot be opened: %s", path, error)
            return None

    def _rotated(self) -> list[Path]:
        """The files that rotation made of this log, oldest first."""
        pattern = rotated_names(self.path)
        paths = [path for path in self._siblings() if pattern.fullmatch(path.name) and path.is_file()]
        return sorted(paths, key=_written_at)

    def _siblings(self) -> Iterator[Path]:
        return self.path.parent.iterdir() if self.path.parent.is_dir() else iter(())


def _written_at(path: Path) -> float:
    """0 for a file that has just gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def rotated_names(path: Path) -> re.Pattern[str]:
    """logrotate's ``access.log.1``, ``access.log-20250721`` and the like, and Caddy's ``access-2025-07-21T….log``."""
    name, stem, suffix = re.escape(path.name), re.escape(path.stem), re.escape(path.suffix)
    return re.compile(rf"{name}(?:[.-]\d[\w.:+-]*|\.old)|{stem}-\d[\w.:+-]*{suffix}(?:\.gz)?")
