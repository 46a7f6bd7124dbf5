"""Supervises the embedded dispatcher: a child process of gunicorn, if EMBEDDED_DISPATCHER is set."""

import contextlib
import signal
import subprocess  # nosec B404
import sys
from logging import Logger
from types import FrameType

CHECK_SECONDS = 1.0


class EmbeddedDispatcher:
    """A dispatcher process that is restarted when it ends, and that stops when process ``parent`` is gone.

    An interval timer checks it: threads do not survive gunicorn's forks safely, and workers inherit no timer.
    """

    process: subprocess.Popen[bytes]

    def __init__(self, parent: int, log: Logger) -> None:
        self.command = [sys.executable, "-m", "flask", "--app", "wsgi", "dispatch", "--parent", str(parent)]
        self.log = log

    def start(self) -> None:
        """Start it. From now on, SIGTERM to this process stops both."""
        self.process = subprocess.Popen(self.command)  # nosec B603
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, CHECK_SECONDS, CHECK_SECONDS)
        stop_parent = signal.getsignal(signal.SIGTERM)

        def stop_both(signum: int, frame: FrameType | None) -> None:
            """Let the dispatcher drain at the same time as the workers."""
            self.stop()
            if callable(stop_parent):
                stop_parent(signum, frame)

        signal.signal(signal.SIGTERM, stop_both)

    def _look(self, signum: int, frame: FrameType | None) -> None:
        # An error here would end gunicorn; the next check tries again.
        with contextlib.suppress(Exception):
            if self.process.poll() is not None:
                self.process = subprocess.Popen(self.command)  # nosec B603
                self.log.warning("The embedded dispatcher ended; it was started again.")

    def stop(self) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        self.process.terminate()

    def join(self) -> None:
        self.process.wait()
