"""Where gunicorn serves, nothing that waits or computes holds up the others. In a process of its own: gevent changes
the standard library for good."""

import subprocess
import sys

from app import greenlets
from tools.processes import ROOT

AS_GUNICORN_DOES = "import runpy; runpy.run_path('gunicorn.conf.py')\n"

WAITS = """
import psycopg.waiting
assert psycopg.waiting.wait is not psycopg.waiting.wait_c
"""

HASHES = """
import gevent
from app.security.passwords import hash_password, verify_password

ticks = [0]

def tick():
    while True:
        gevent.sleep(0.001)
        ticks.append(ticks[-1] + 1)

gevent.spawn(tick)
for step in (
    lambda: hash_password("correct horse"),
    lambda: verify_password(hash_password("correct horse"), "correct horse") or 1 / 0,
    lambda: verify_password(None, "wrong") and 1 / 0,
):
    before = len(ticks)
    step()
    assert len(ticks) > before, step
verify_password("no hash", "wrong") and 1 / 0
"""


def run(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_GUNICORN_DOES + script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_whoever_waits_for_postgresql_lets_others_go_on() -> None:
    run(WAITS)


def test_whoever_waits_for_a_password_lets_others_go_on_and_no_error_is_written_for_a_wrong_one() -> None:
    run(HASHES)


def test_elsewhere_there_are_none() -> None:
    assert not greenlets.are_used()
    assert greenlets.run_in_thread(divmod, 7, 2) == (3, 1)
