"""One file of lines, read from any offset. It is recognised by its first line, whatever its name or inode becomes."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from arkyn_reporter.tail.state import Position

CHUNK_BYTES = 1024 * 1024
MAX_HEAD_BYTES = 65_536


class Truncated(Exception):
    """The file no longer holds what was read of it: its content was copied away and cut off."""


class Line(NamedTuple):
    """``text`` is None where the line is too long to be read."""

    file: LineFile
    offset: int
    text: bytes | None


class LineFile:
    """Raises OSError where it cannot be opened or read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_compressed = path.suffix == ".gz"
        self._stream = cast(BinaryIO, gzip.GzipFile(path) if self.is_compressed else path.open("rb", buffering=0))
        self.inode = os.fstat(self._stream.fileno()).st_ino
        self.offset = 0
        self.head: str | None = None
        self._head_length = 0
        # When the log went on in another file; None while it goes on in this one.
        self.retired_at: float | None = None
        # Whether nobody writes to it any more.
        self.is_final = self.is_compressed
        self._in_long_line = False
        self.find_head()

    def close(self) -> None:
        self._stream.close()

    def size(self) -> int:
        """What is known of it: of a compressed file, only what was read."""
        return self.offset if self.is_compressed else os.fstat(self._stream.fileno()).st_size

    def written_at(self) -> float:
        return os.fstat(self._stream.fileno()).st_mtime

    def position(self) -> Position | None:
        """None while it has no whole line."""
        return Position(self.head, self.inode, self.offset) if self.head is not None else None

    def find_head(self) -> None:
        """Note the hash of the first line, once it is whole."""
        if self.head is None:
            start = self._read(0, MAX_HEAD_BYTES)
            end = start.find(b"\n") + 1
            if end or len(start) == MAX_HEAD_BYTES:
                self._head_length = end or len(start)
                self.head = _hash(start[: self._head_length])

    def skip_to_end(self) -> None:
        """Go behind the last whole line."""
        end = self.size()
        while end > 0:
            start = max(end - CHUNK_BYTES, 0)
            newline = self._read(start, end - start).rfind(b"\n")
            if newline >= 0:
                self.offset = start + newline + 1
                return
            end = start

    def read_lines(self, max_lines: int) -> list[Line]:
        """The next whole lines; none at the end. Raises Truncated."""
        while True:
            offset = self.offset
            lines = self._read_some(max_lines)
            if lines or self.offset == offset:
                return lines

    def _read_some(self, max_lines: int) -> list[Line]:
        """The whole lines of one chunk: none, too, where it is all blank, or part of a long line."""
        self.find_head()
        chunk = self._read(self.offset, CHUNK_BYTES)
        self._check_head()
        lines: list[Line] = []
        at = 0
        while len(lines) < max_lines and (end := chunk.find(b"\n", at) + 1):
            self._add(lines, chunk[at:end])
            at = end
        if not at and len(chunk) == CHUNK_BYTES:
            self._skip(lines, len(chunk))
        return lines

    def read_rest(self) -> list[Line]:
        """What follows the last whole line of a file that nobody writes to any more."""
        lines: list[Line] = []
        rest = self._read(self.offset, CHUNK_BYTES)
        if rest and self.head is not None:
            self._add(lines, rest)
        return lines

    def _add(self, lines: list[Line], text: bytes) -> None:
        if not self._in_long_line and text.strip():
            lines.append(Line(self, self.offset, text))
        self._in_long_line = False
        self.offset += len(text)

    def _skip(self, lines: list[Line], length: int) -> None:
        if not self._in_long_line:
            lines.append(Line(self, self.offset, None))
        self._in_long_line = True
        self.offset += length

    def _check_head(self) -> None:
        """After each read, for the file may be cut off, and grow again, between any two looks at it."""
        if self.head is None or self.is_compressed:
            return
        if self.size() < self.offset or _hash(self._read(0, self._head_length)) != self.head:
            raise Truncated

    def _read(self, offset: int, length: int) -> bytes:
        if not self.is_compressed:
            return os.pread(self._stream.fileno(), length, offset)
        self._stream.seek(offset)
        return self._stream.read(length)


def _hash(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()[:32]
