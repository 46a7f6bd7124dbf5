"""gunicorn's settings, and hooks that run the embedded dispatcher and share the workers' counters.

The gevent worker class gives each connection a greenlet, so that one waiting for its client or for PostgreSQL does not
block the others.
"""

import warnings

from gevent import monkey

# Patch before importing psycopg, which chooses its way to wait at import. The excluded modules stay unpatched for
# gunicorn's arbiter, which forks, sleeps and handles signals; in the workers, the worker class patches them too.
warnings.filterwarnings("ignore", category=monkey.MonkeyPatchWarning)
monkey.patch_all(os=False, signal=False, subprocess=False, queue=False, time=False)

import contextlib  # noqa: E402
import ctypes  # noqa: E402
import gc  # noqa: E402
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
# In bytes; nginx's limit.
limit_request_line = 8190
logconfig_dict = logging_config(settings["LOG_FORMAT"], settings["LOG_LEVEL"])
control_socket_disable = True
# TRUSTED_PROXIES decides; by default gunicorn trusts every client on this host.
forwarded_allow_ips = ""

# Each connection is an open file; the usual soft limit is 1,024 per process, so raise it.
soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
open_files = 4096 if hard_limit == resource.RLIM_INFINITY else min(4096, hard_limit)
if soft_limit != resource.RLIM_INFINITY and soft_limit < open_files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, hard_limit))
worker_connections = max(100, min(1000, open_files - 200))

# Use one malloc arena and trim it: by default glibc keeps one per thread, each at its peak size.
M_TRIM_THRESHOLD, M_ARENA_MAX = -1, -8
with contextlib.suppress(AttributeError):
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, 1024 * 1024)

# Hooks of gunicorn. ``server`` is its arbiter, ``worker`` a worker; the hooks store attributes on both.


def on_starting(server: Any) -> None:
    server.counters_folder = counters.share()


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker a free slot, so that it continues the counter files of the worker that it replaces."""
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = next(slot for slot in itertools.count() if slot not in taken)


def post_fork(server: Any, worker: Any) -> None:
    counters.take_slot(worker.slot)


def when_ready(server: Any) -> None:
    # Linux: accept a connection only once its request arrives. Otherwise one idle worker accepts all connections that
    # are opened at once.
    with contextlib.suppress(AttributeError, OSError):
        for listener in server.LISTENERS:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
    server.log.info("Ready: open http://%s:%s in a browser; /docs shows what there is to call.", host, settings["PORT"])
    if hint := advice(settings):
        server.log.warning(hint)
    if not settings["EMBEDDED_DISPATCHER"]:
        return
    # An attribute of the arbiter survives a reload of this file.
    server.dispatcher = EmbeddedDispatcher(server.pid, server.log)
    server.dispatcher.start()


def post_worker_init(worker: Any) -> None:
    """Ignore Ctrl-C, which reaches all processes of a terminal: gunicorn stops its workers. Tune garbage collection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Exempt what the application has loaded from garbage collection: looking through all of it takes 75 ms, and the
    # values of a few batches at once cause it again and again. A batch has more than the 700 objects of the default.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def on_exit(server: Any) -> None:
    if dispatcher := getattr(server, "dispatcher", None):
        dispatcher.stop()
        dispatcher.join()
    shutil.rmtree(server.counters_folder, ignore_errors=True)
