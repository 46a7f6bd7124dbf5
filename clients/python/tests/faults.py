"""What becomes of reports under each fault: reported, arrived, dropped and counted, twice.

``python tests/faults.py`` prints the table. ``tests/test_faults.py`` holds it to its promises.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Callable, NamedTuple

from collector import Collector, lose_answer, slow, status
from servers import Server, gunicorn, uvicorn

from arkyn_reporter import Reporter

FLASK = "applications.flask_app:app"
PREFORK = gunicorn(FLASK, "-w", "2", "-k", "gthread", "--threads", "4", "--preload")


class Row(NamedTuple):
    fault: str
    reported: int
    arrived: int
    dropped: int
    counted: int
    twice: int


def reported_through(fault: str, strike: Callable[[Collector], None], max_queue_bytes: int = 16 * 1024 * 1024) -> Row:
    """Report at a steady pace while the fault strikes, and for a moment after it."""
    collector = Collector()
    reporter = Reporter(collector.dsn, max_queue_bytes=max_queue_bytes, timeout=0.5)
    stop = threading.Event()

    def report_steadily() -> None:
        number = 0
        while not stop.wait(0.001):
            code = 500 if number % 50 == 0 else 200
            reporter.report(status=code, method="GET", url=f"http://a.example.com/{number}", elapsed_ms=1)
            number += 1

    thread = threading.Thread(target=report_steadily)
    thread.start()
    try:
        strike(collector)
    finally:
        stop.set()
        thread.join()
    wait_until(lambda: reporter.flush(2))
    reporter.report(status=500, method="GET", url="http://a.example.com/last", elapsed_ms=1)
    wait_until(lambda: reporter.flush(2))
    counts = reporter.counts()
    collector.stop()
    return Row(fault, counts.reported, len(collector.records), counts.dropped, collector.dropped, twice(collector))


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def twice(collector: Collector) -> int:
    """Requests that are there more than once: each has a path, or a parameter, of its own."""
    requests = [(record["pathnameUrl"], record["queryParams"].get("n")) for record in collector.values()]
    return len(requests) - len(set(requests))


def served(fault: str, command: list[str], strike: Callable[[Server, int], None], requests: int = 60) -> Row:
    """Answer requests while the fault strikes the application; what it was asked is what it should report."""
    collector = Collector()
    answered = 0
    with tempfile.TemporaryDirectory() as folder:
        server = Server(command, collector.dsn, Path(folder) / "log")
        try:
            for number in range(requests):
                strike(server, number)
                answered += answers(server, number)
        finally:
            server.stop()
    collector.stop()
    arrived = len(collector.records)
    return Row(fault, answered, arrived, 0, collector.dropped, twice(collector))


def answers(server: Server, number: int) -> bool:
    for attempt in range(100):
        try:
            return server.get(f"/orders/{number}?n={number}-{attempt}")[0] == 200
        except OSError:
            time.sleep(0.05)
    return False


def for_a_while(fault: object, seconds: float = 3) -> Callable[[Collector], None]:
    def strike(collector: Collector) -> None:
        time.sleep(0.3)
        collector.fault = fault
        time.sleep(seconds)
        collector.fault = None
        time.sleep(0.3)

    return strike


def down(collector: Collector) -> None:
    time.sleep(0.3)
    collector.stop()
    time.sleep(3)
    collector.start()
    time.sleep(0.3)


def killed_and_restarted(collector: Collector) -> None:
    for _ in range(4):
        time.sleep(0.5)
        collector.stop()
        collector.start()


def reload(server: Server, number: int) -> None:
    if number in (20, 40):
        os.kill(server.process.pid, signal.SIGHUP)


def stop_a_worker(server: Server, number: int) -> None:
    """As whoever scales down, or a leak watcher, does."""
    if number in (20, 40):
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)


def kill_a_worker(server: Server, number: int) -> None:
    """kill -9 right after all that was answered has had its second to be sent."""
    if number in (20, 40):
        time.sleep(1.5)
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)


def nothing(server: Server, number: int) -> None:
    pass


def forked() -> Row:
    """A process that forks again and again while it reports; parent and children all do."""
    collector = Collector()
    script = f"""
import os, sys, threading
from arkyn_reporter import Reporter
reporter = Reporter({collector.dsn!r})
def report(path):
    reporter.report(status=200, method="GET", url="http://a.example.com/" + path, elapsed_ms=1)
def go_on(name):
    for number in range(200):
        report(f"{{name}}/{{number}}")
threads = [threading.Thread(target=go_on, args=(name,)) for name in ("a", "b")]
for thread in threads:
    thread.start()
for child in range(10):
    if os.fork() == 0:
        for number in range(20):
            report(f"child-{{child}}/{{number}}")
        sys.exit()
for _ in range(10):
    os.wait()
for thread in threads:
    thread.join()
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "src")}
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], env=environment, check=True, timeout=30)
    collector.stop()
    return Row(
        "application forks while it reports", 600, len(collector.records), 0, collector.dropped, twice(collector)
    )


ROWS: list[Callable[[], Row]] = [
    lambda: reported_through("service down for 3 s", down),
    lambda: reported_through("service down for 3 s, queue of 300 kB", down, 300_000),
    lambda: reported_through("service killed and restarted, four times", killed_and_restarted),
    lambda: reported_through("service slow: 0.4 s for each batch", for_a_while(slow(0.4))),
    lambda: reported_through(
        "service hangs for longer than the timeout, having taken the batch", for_a_while(slow(1.5))
    ),
    lambda: reported_through("service answers 500", for_a_while(status(500))),
    lambda: reported_through("service answers 429 with Retry-After: 1", for_a_while(status(429, Retry_After="1"))),
    lambda: reported_through("service dies after each batch, before it answers", for_a_while(lose_answer)),
    lambda: served("application stopped (SIGTERM): gunicorn, preloaded", PREFORK, nothing),
    lambda: served(
        "application stopped (SIGTERM): uvicorn, 2 workers",
        uvicorn("applications.fastapi_app:app", "--workers", "2"),
        nothing,
    ),
    lambda: served("application reloaded twice (SIGHUP): gunicorn", gunicorn(FLASK, "-w", "2"), reload),
    lambda: served(
        "worker stopped twice (SIGTERM): gunicorn gevent", gunicorn(FLASK, "-w", "2", "-k", "gevent"), stop_a_worker
    ),
    lambda: served("worker killed twice (kill -9), 1.5 s after its last request", PREFORK, kill_a_worker),
    forked,
]


def main() -> None:
    print("| fault | reported | arrived | dropped | of these counted | twice |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in ROWS:
        print(
            "| " + " | ".join(f"{value:,}" if isinstance(value, int) else value for value in row()) + " |", flush=True
        )


if __name__ == "__main__":
    main()
