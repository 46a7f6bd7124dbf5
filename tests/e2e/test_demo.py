"""``make demo``."""

import os
import pty
import re
import signal
import subprocess
import sys

import pytest
import urllib3

from tests.e2e.marks import e2e
from tools import demo
from tools.fake_discord import Fault
from tools.processes import PATIENCE_SECONDS, ROOT, eventually

pytestmark = [*e2e, pytest.mark.long]


def test_the_demo_shows_each_step_and_the_message_that_arrived():
    command = [sys.executable, "-m", "tools.demo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE_SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    steps, _, message = done.stdout.partition("ms:\n")
    assert [line.split("  ")[0] for line in steps.splitlines()] == [
        "Discord",
        "Service",
        "Sign up",
        "Sign in",
        "Source",
        "Webhook",
        "Report",
        "Message",
    ]
    assert "503 Service Unavailable" in message
    assert "`POST api.payments.com/orders/42`" in message


@pytest.mark.parametrize("stdout", ["terminal", "closed"])
def test_the_demo_ends_by_itself_where_nobody_can_interrupt_it(stdout):
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "tools.demo"]
    if stdout == "closed":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=its,
            stderr=subprocess.PIPE,
            timeout=2 * PATIENCE_SECONDS,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(its)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_demo_says_so_and_fails_where_nothing_arrives(discord, capsys):
    discord.outage = Fault(status=500)
    assert demo.run(discord, patience=1.0) == 1
    assert capsys.readouterr().err == "Nothing arrived in the channel within 1 s.\n"


def test_the_demo_that_is_kept_shows_a_shop_in_the_console_until_it_is_interrupted(tmp_path):
    output = tmp_path / "output"
    with output.open("w") as file:
        kept = subprocess.Popen([sys.executable, "-m", "tools.demo", "--keep"], cwd=ROOT, stdout=file, stderr=file)
    try:
        found = eventually(lambda: re.search(r"Console +(http://\S+)", output.read_text()), "the address is printed")
        answer = urllib3.request("GET", found[1], redirect=False, timeout=PATIENCE_SECONDS)
        assert answer.headers["Location"].startswith("/console/sign-in?next=")
        eventually(lambda: "password 'canary password'" in output.read_text(), "the sign-in is printed")
        kept.send_signal(signal.SIGINT)
        assert kept.wait(PATIENCE_SECONDS) == 0, output.read_text()
    finally:
        kept.kill()
