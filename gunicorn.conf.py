"""How gunicorn serves the API, and the embedded dispatcher beside it.

Each connection has a greenlet of its own: one that waits, for its client or for PostgreSQL, lets the others go on.
"""

import warnings

from gevent import monkey

# Before all that is imported below: psycopg finds out at its import how to wait. What gunicorn's own process forks,
# sleeps and takes signals with is left to it; the worker class patches that, too, in the workers.
warnings.filterwarnings("ignore", category=monkey.MonkeyPatchWarning)
monkey.patch_all(os=False, signal=False, subprocess=False, queue=False, time=False)

import contextlib  # noqa: E402
import ctypes  # noqa: E402
import itertools  # noqa: E402
import resource  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

from app.config import ConfigurationError, advice, load_settings  # noqa: E402
from app.delivery.embedded import EmbeddedDispatcher  # noqa: E402
from app.monitoring import counters  # noqa: E402
from app.monitoring.logs import logging_config  # noqa: E402

try:
    settings = load_settings()
except ConfigurationError as error:
    sys.exit(str(error))

host = f"[{settings['HOST']}]" if ":" in settings["HOST"] else settings["HOST"]
bind = f"{host}:{settings['PORT']}"
workers = settings["WEB_CONCURRENCY"]
worker_class = "gevent"
graceful_timeout = 30
keepalive = 5
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

# Hooks of gunicorn. ``server`` is its arbiter, ``worker`` a worker; both keep what the hooks put on them.


def on_starting(server: Any) -> None:
    server.counters_folder = counters.share()


def pre_fork(server: Any, worker: Any) -> None:
    """A worker counts on where the one it replaces ended: no count is lost, and no files pile up."""
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = next(slot for slot in itertools.count() if slot not in taken)


def post_fork(server: Any, worker: Any) -> None:
    counters.take_slot(worker.slot)


def when_ready(server: Any) -> None:
    # Connections are accepted once a request comes, on Linux: a worker that has nothing to do would else take all that
    # are opened at once, and leave the others nothing.
    with contextlib.suppress(AttributeError, OSError):
        for listener in server.LISTENERS:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
    server.log.info("Ready: http://%s:%s/docs shows what there is to call.", host, settings["PORT"])
    if hint := advice(settings):
        server.log.warning(hint)
    if not settings["EMBEDDED_DISPATCHER"]:
        return
    # On the server, which outlives a reload of this file.
    server.dispatcher = EmbeddedDispatcher(server.pid, server.log)
    server.dispatcher.start()


def post_worker_init(worker: Any) -> None:
    """Ctrl-C reaches all processes of a terminal; a worker ends when gunicorn tells it to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def on_exit(server: Any) -> None:
    if dispatcher := getattr(server, "dispatcher", None):
        dispatcher.stop()
        dispatcher.join()
    shutil.rmtree(server.counters_folder, ignore_errors=True)
