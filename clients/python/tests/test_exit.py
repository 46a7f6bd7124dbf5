"""What becomes of waiting reports when the interpreter ends."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from collector import slow, status

SOURCES = str(Path(__file__).parent.parent / "src")
START = f"""
import atexit, os, sys, threading, time
sys.path.insert(0, {SOURCES!r})
from arkyn_reporter import Reporter

def report(path="/"):
    reporter.report(status=200, method="GET", url="http://a.example.com" + path, elapsed_ms=1)
"""


def run(script, dsn, seconds=20):
    """Run a script; returns what it printed as errors, and how long it took."""
    started = time.monotonic()
    code = f"{START}\nreporter = Reporter({dsn!r})\n{script}"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds)
    assert "never-logged" not in process.stderr
    return process.stderr, time.monotonic() - started, process.returncode


def test_what_waits_is_sent(collector):
    errors, _, code = run("[report() for _ in range(2500)]", collector.dsn)
    assert (errors, code, len(collector.records)) == ("", 0, 2500)


@pytest.mark.parametrize(
    "script",
    [
        "report(); raise ValueError",
        "report(); sys.exit(3)",
        "atexit.register(report)",
        "report(); atexit.register(report); time.sleep(1.2)",
        "threading.Timer(0.1, report).start()",
        "threading.Thread(target=lambda: (report(), time.sleep(0.1))).start()",
        "child = os.fork(); report(f'/{child == 0}'); child and os.waitpid(child, 0)",
        "import multiprocessing as m; p = m.get_context('fork').Process(target=lambda: (report(), reporter.flush())); "
        "p.start(); p.join()",
    ],
)
def test_however_it_ends_what_waits_is_sent(collector, script):
    run(script, collector.dsn)
    assert 1 <= len(collector.records) <= 2
    assert len(collector.records) == (2 if "fork()" in script or "sleep(1.2)" in script else 1)
    assert collector.repeated == 0


@pytest.mark.parametrize("fault", [slow(10), status(500), status(429, Retry_After="100")])
def test_a_service_in_trouble_holds_up_the_end_for_two_seconds_at_most(collector, fault):
    collector.fault = fault
    errors, seconds, code = run("report()", collector.dsn)
    assert seconds < 4
    assert code == 0
    assert "1 reports were not sent" in errors


def test_a_process_without_reports_ends_at_once(collector):
    errors, seconds, _ = run("", collector.dsn)
    assert errors == ""
    assert seconds < 2


@pytest.mark.parametrize("fault", [None, status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), status(401)])
def test_the_background_thread_imports_nothing(collector, fault):
    """A child that is forked while another thread imports something waits for it forever."""
    if fault:
        collector.faults = [fault]
    look = "before = set(sys.modules); report(); reporter.flush(5); new = set(sys.modules) - before"
    errors, _, _ = run(f"{look}; print(*new or ['nothing'], file=sys.stderr)", collector.dsn)
    assert errors.splitlines()[-1] == "nothing"
