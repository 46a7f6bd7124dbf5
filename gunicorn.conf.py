"""How gunicorn serves the API, and the embedded dispatcher beside it."""

import contextlib
import ctypes
import itertools
import os
import resource
import shutil
import signal
import subprocess  # nosec B404
import sys
import threading

from app import counters
from app.config import ConfigurationError, load_settings
from app.logs import logging_config
from gunicorn_worker import ConnectionCounts

try:
    settings = load_settings()
except ConfigurationError as error:
    sys.exit(str(error))

host = f"[{settings['HOST']}]" if ":" in settings["HOST"] else settings["HOST"]
bind = f"{host}:{settings['PORT']}"
workers = settings["WEB_CONCURRENCY"]
worker_class = "gunicorn_worker.BoundedWorker"
threads = 8
graceful_timeout = 30
keepalive = 5
# A file is sent piece by piece, so that the deadline of the answer holds.
sendfile = False
# As much as nginx lets through.
limit_request_line = 8190
logconfig_dict = logging_config(settings["LOG_FORMAT"], settings["LOG_LEVEL"])
control_socket_disable = True
# Left to TRUSTED_PROXIES: by default gunicorn believes whoever connects from this host.
forwarded_allow_ips = ""

# Each connection is an open file, of which a process may often have 1,024 unless it asks for more.
soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
open_files = 4096 if hard_limit == resource.RLIM_INFINITY else min(4096, hard_limit)
if soft_limit != resource.RLIM_INFINITY and soft_limit < open_files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, hard_limit))
worker_connections = max(100, min(1000, open_files - 200))

# glibc would give each thread a heap of its own, and every heap keep what its largest batch took.
M_TRIM_THRESHOLD, M_ARENA_MAX = -1, -8
with contextlib.suppress(AttributeError):
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, 1024 * 1024)

RESTART_AFTER = 1.0


class EmbeddedDispatcher:
    """One dispatcher process beside all workers, started again whenever it dies."""

    def __init__(self, master_pid, log):
        self.command = [sys.executable, "-m", "flask", "--app", "wsgi", "dispatch", "--parent", str(master_pid)]
        self.log = log
        self.stopping = threading.Event()
        self.process = None
        # A worker forked while Popen runs would keep its pipe open, on which Popen then waits for ever.
        self.spawning = threading.Lock()
        os.register_at_fork(
            before=self.spawning.acquire, after_in_parent=self.spawning.release, after_in_child=self.spawning.release
        )

    def start(self):
        threading.Thread(target=self.keep_running, name="embedded-dispatcher", daemon=True).start()

    def keep_running(self):
        while not self.stopping.is_set():
            with self.spawning:
                self.process = subprocess.Popen(self.command)  # nosec B603
            self.process.wait()
            if not self.stopping.wait(RESTART_AFTER):
                self.log.warning("The embedded dispatcher ended; starting it again.")

    def stop(self):
        self.stopping.set()
        if self.process is not None:
            self.process.terminate()

    def join(self):
        if self.process is not None:
            self.process.wait()


def on_starting(server):
    server.counters_folder = counters.share()
    server.connection_counts = ConnectionCounts()


def pre_fork(server, worker):
    """A worker counts on where the one it replaces ended: no count is lost, and no files pile up."""
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = next(slot for slot in itertools.count() if slot not in taken)
    worker.connection_counts = server.connection_counts


def post_fork(server, worker):
    counters.take_slot(worker.slot)


def child_exit(server, worker):
    server.connection_counts.forget(worker.slot)


def when_ready(server):
    if not settings["EMBEDDED_DISPATCHER"]:
        return
    # On the server, which outlives a reload of this file.
    server.dispatcher = dispatcher = EmbeddedDispatcher(server.pid, server.log)
    dispatcher.start()
    stop_server = signal.getsignal(signal.SIGTERM)

    def stop_both(signum, frame):
        """Drain the dispatcher while the workers drain, not after them."""
        dispatcher.stop()
        stop_server(signum, frame)

    signal.signal(signal.SIGTERM, stop_both)


def post_worker_init(worker):
    """Ctrl-C reaches all processes of a terminal. gthread hangs when it gets it and then gunicorn's own signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def on_exit(server):
    if dispatcher := getattr(server, "dispatcher", None):
        dispatcher.stop()
        dispatcher.join()
    shutil.rmtree(server.counters_folder, ignore_errors=True)
