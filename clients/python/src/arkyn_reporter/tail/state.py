"""Which lines were delivered, on disk. The file is replaced whole, so that it is never half written.

It is saved after the service has accepted lines. What was accepted but not saved is sent again after a crash, under the
same report ids, which the service recognises: so ``id``, of which they are made, is saved before anything is sent.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO


class StateUnusable(Exception):
    """The state file cannot be read or written, or another process uses it."""


class Position(NamedTuple):
    """How far one log file was delivered. ``head`` is the hash of its first line: it survives a rename and a copy."""

    head: str
    inode: int
    offset: int


class State:
    def __init__(self, path: Path) -> None:
        """Raises StateUnusable."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path.with_name(path.name + ".lock"))
            held = json.loads(path.read_text("utf-8")) if path.exists() else {}
            self.id = str(held.get("id") or uuid.uuid4())
            self.seen_at = float(held.get("seenAt", 0))
            self._files = {log: [Position(**held) for held in files] for log, files in held.get("files", {}).items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise StateUnusable(f"The state file {path} cannot be used: {error}") from error

    def positions(self, log: str) -> Sequence[Position] | None:
        """The files behind a log that were not delivered whole, oldest first; None for a log that is new."""
        return self._files.get(log)

    def save(self, positions: Mapping[str, Sequence[Position]], seen_at: float) -> None:
        """``seen_at``: what was written before it is noted here. Raises StateUnusable."""
        self._files.update({log: list(files) for log, files in positions.items()})
        self.seen_at = seen_at
        files = {log: [position._asdict() for position in held] for log, held in self._files.items()}
        try:
            _replace(self._path, {"id": self.id, "seenAt": seen_at, "files": files})
        except OSError as error:
            raise StateUnusable(f"The state file {self._path} cannot be written: {error}") from error


def _locked(path: Path) -> TextIO:
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise OSError("another process uses it") from None
    return file


def _replace(path: Path, value: Any) -> None:
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
