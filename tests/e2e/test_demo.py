"""``make demo``."""

import subprocess
import sys

from tests.e2e.marks import e2e
from tools import demo
from tools.fake_discord import Fault
from tools.processes import PATIENCE_SECONDS, ROOT

pytestmark = e2e


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


def test_the_demo_says_so_and_fails_where_nothing_arrives(discord, capsys):
    discord.outage = Fault(status=500)
    assert demo.run(discord, patience=1.0) == 1
    assert capsys.readouterr().err == "Nothing arrived in the channel within 1 s.\n"
