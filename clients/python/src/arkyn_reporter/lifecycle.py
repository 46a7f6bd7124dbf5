"""What happens to reporters when the process forks and when it exits. Registered once, with the first reporter."""

from __future__ import annotations

import atexit
import os
import time
import weakref
from typing import Protocol

EXIT_SECONDS = 2.0


class Living(Protocol):
    def start_anew(self) -> None: ...

    def flush_at_exit(self, timeout: float) -> None: ...


_reporters: weakref.WeakSet[Living] = weakref.WeakSet()
_registered = False


def watch(reporter: Living) -> None:
    global _registered  # noqa: PLW0603
    _reporters.add(reporter)
    if not _registered:
        _registered = True
        atexit.register(_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    for reporter in list(_reporters):
        reporter.start_anew()


def _exit() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    for reporter in list(_reporters):
        reporter.flush_at_exit(max(deadline - time.monotonic(), 0.0))
