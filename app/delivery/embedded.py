"""Runs a dispatcher beside gunicorn's workers, where EMBEDDED_DISPATCHER says so."""

import contextlib
import signal
import subprocess  # nosec B404
import sys
from logging import Logger
from types import FrameType

LOOK_SECONDS = 1.0


class EmbeddedDispatcher:
    """One dispatcher process, a child of the process ``parent``, started again whenever it ends.

    A timer looks after it: gunicorn's arbiter may have no thread, and a worker forked by it inherits no timer.
    """

    process: subprocess.Popen[bytes]

    def __init__(self, parent: int, log: Logger) -> None:
        self.command = [sys.executable, "-m", "flask", "--app", "wsgi", "dispatch", "--parent", str(parent)]
        self.log = log

    def start(self) -> None:
        """Start it. SIGTERM stops it from now on, together with the parent."""
        self.process = subprocess.Popen(self.command)  # nosec B603
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)
        stop_parent = signal.getsignal(signal.SIGTERM)

        def stop_both(signum: int, frame: FrameType | None) -> None:
            """Drain the dispatcher while the workers drain, not after them."""
            self.stop()
            if callable(stop_parent):
                stop_parent(signum, frame)

        signal.signal(signal.SIGTERM, stop_both)

    def _look(self, signum: int, frame: FrameType | None) -> None:
        # An error here would end gunicorn; the next look, a second later, tries again.
        with contextlib.suppress(Exception):
            if self.process.poll() is not None:
                self.process = subprocess.Popen(self.command)  # nosec B603
                self.log.warning("The embedded dispatcher ended; it was started again.")

    def stop(self) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        self.process.terminate()

    def join(self) -> None:
        self.process.wait()
