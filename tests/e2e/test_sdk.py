"""arkyn's own SDK, from the registry and unmodified, reports to the service."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.marks import e2e, need_node
from tools.processes import PATIENCE_SECONDS, eventually
from tools.story import Story

pytestmark = e2e

SDK = Path(__file__).parent / "sdk"
INSTALL = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]


@pytest.fixture(scope="module")
def sdk():
    """The SDK, installed as the lock file says; kept until the lock file changes."""
    need_node("arkyn's SDK")
    if not is_installed():
        run(INSTALL, timeout=120)


def is_installed():
    installed = SDK / "node_modules" / ".package-lock.json"
    return installed.exists() and installed.stat().st_mtime >= (SDK / "package-lock.json").stat().st_mtime


def run(command, timeout=PATIENCE_SECONDS, **environ):
    done = subprocess.run(
        command, cwd=SDK, env=os.environ | environ, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_request_that_fails_through_the_sdk_becomes_a_message(sdk, service, discord):
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook("fatal")
    output = run(
        ["node", "report.mjs"],
        TRAFFIC_SOURCE_ID=story.source_id,
        USER_TOKEN=story.client.token,
        LOG_BASE_API_URL=service.server.url,
        # In development the SDK reports nothing; in debug mode it prints why a report was refused.
        NODE_ENV="production",
        DEBUG_MODE="true",
    )
    assert output == "500 Out of stock\n"
    (message,) = eventually(lambda: discord.messages, "the message arrives")
    (embed,) = message.body["embeds"]
    assert embed["title"].startswith("`POST ")
    assert embed["title"].endswith("/orders/42`")
    assert "500" in embed["description"]
