"""The reporters of clients/, as their users call them, report to the service."""

import os
import subprocess
import sys

import pytest

from tests.e2e.marks import e2e, need_node
from tools.processes import PATIENCE_SECONDS, ROOT, Service, eventually
from tools.story import Story

pytestmark = e2e

CLIENTS = ROOT / "clients"
PYTHON = """
from arkyn_reporter import Reporter

reporter = Reporter()
reporter.report(status=503, method="POST", url="https://shop.example.com/orders/42", elapsed_ms=3)
assert reporter.flush(5)
"""
NODE = """
const reporter = require(process.argv[1]);
reporter.report({status: 503, method: 'POST', url: 'https://shop.example.com/orders/42', elapsedMs: 3});
reporter.flush(5000);
"""


def run_python(dsn: str) -> None:
    run([sys.executable, "-c", PYTHON], dsn, PYTHONPATH=str(CLIENTS / "python" / "src"))


def run_node(dsn: str) -> None:
    need_node("The reporter for Node.js")
    run(["node", "-e", NODE, str(CLIENTS / "node")], dsn)


def run(command: list[str], dsn: str, **environ: str) -> None:
    environ = os.environ | {"ARKYN_DSN": dsn} | environ
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("report", [run_python, run_node])
def test_what_a_reporter_reports_becomes_a_message(service: Service, discord, report) -> None:
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook("fatal")
    report(story.create_token()["dsn"])
    (message,) = eventually(lambda: discord.messages, "the message arrives")
    (embed,) = message.body["embeds"]
    assert embed["title"] == "`POST shop.example.com/orders/42`"
