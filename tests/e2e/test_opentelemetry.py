"""OpenTelemetry's own SDKs, from the registries and unmodified, report to the service: by environment variables alone.

The variables are those of docs/connect-opentelemetry.md, as they stand there.
"""

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import psutil
import pytest
import urllib3

from tests.e2e.marks import e2e, need_node
from tools.processes import PATIENCE_SECONDS, ROOT, eventually, free_port, kill_group
from tools.story import Story

pytestmark = [*e2e, pytest.mark.long]

HERE = Path(__file__).parent / "opentelemetry"
PYTHON = HERE / "python"
NODE = HERE / "node"
# Kept until its requirements change, as node_modules is; goes with the environment that it is in.
VENV = Path(sys.prefix) / "opentelemetry-sdk"
PAGE = (ROOT / "docs/connect-opentelemetry.md").read_text()
INSTALL_SECONDS = 300
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "200"}


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def alone():
    """Other processes of this test run wait, so that nobody installs into what another uses."""
    with (HERE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_newer(file, than):
    return file.exists() and file.stat().st_mtime >= than.stat().st_mtime


@pytest.fixture(scope="module")
def python_sdk():
    """In an environment of its own: its packages want other versions than the service's."""
    done, requirements = VENV / "installed", PYTHON / "requirements.txt"
    with alone():
        if not is_newer(done, requirements):
            venv.create(VENV, clear=True, with_pip=True)
            pip = [VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([*pip, "--require-hashes", "-r", requirements], PYTHON)
            done.touch()


@pytest.fixture(scope="module")
def node_sdk():
    need_node("OpenTelemetry's SDK for Node.js")
    with alone():
        if not is_newer(NODE / "node_modules/.package-lock.json", NODE / "package-lock.json"):
            run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], NODE)


def variables(service_url, token):
    """The lines ``export NAME=VALUE`` of the page, with an address and a token put in."""
    text = PAGE.replace("http://127.0.0.1:8000", service_url).replace("ingest_TOKEN", token)
    return {name: value.strip('"') for name, value in re.findall(r"^export (\w+)=(.*)$", text, re.MULTILINE)}


@pytest.fixture
def story(service):
    service.serve()
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook("fatal")
    return story


@pytest.fixture
def shop(service, story):
    """Starts the application, and returns what asks it."""
    token = story.create_token()["token"]
    given = variables(service.server.url, token)
    assert len(given) == 9
    started = []

    def start(command, folder, **changes):
        port = str(free_port())
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))}
        environ = inherited | {"PORT": port} | given | QUICK | changes
        if folder == PYTHON:
            del environ["NODE_OPTIONS"]
            environ["PATH"] = f"{VENV / 'bin'}{os.pathsep}{environ['PATH']}"
        process = psutil.Popen(
            [part.replace("PORT", port) for part in command], cwd=folder, env=environ, start_new_session=True
        )
        started.append(process)

        def ask(method, path):
            return urllib3.request(
                method, f"http://127.0.0.1:{port}{path}", retries=False, timeout=PATIENCE_SECONDS
            ).status

        def answers():
            assert process.poll() is None
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                return ask("GET", "/orders/1?page=1&token=canary-secret") == 200
            return False

        eventually(answers, "the application answers")
        return ask

    yield start
    for process in started:
        kill_group(process)


def records(story):
    listed = story.client.get(f"/http-traffics/{story.source_id}?pageLimit=100").json["data"]
    whole = (story.client.get(f"/http-traffic-records/record/{record['id']}").json for record in listed)
    return sorted(whole, key=lambda record: (record["status"], record["pathname"]))


def check(story, ask, discord):
    """Three requests are three records, and those that failed are messages."""
    assert (ask("GET", "/orders/250"), ask("POST", "/broken")) == (503, 500)
    eventually(lambda: len(records(story)) >= 3, "the spans arrive")
    fine, broken, unavailable = records(story)
    assert [(each["method"], each["status"], each["pathname"]) for each in (fine, broken, unavailable)] == [
        ("get", 200, "/orders/1"),
        ("post", 500, "/broken"),
        ("get", 503, "/orders/250"),
    ]
    for record in (fine, broken, unavailable):
        assert record["domain"].startswith("http://127.0.0.1")
        assert 0 < record["elapsedTime"] < 5_000
    assert '"page":"1"' in fine["request"]["queryParams"]
    assert "canary-secret" not in str(fine)
    eventually(lambda: sum(message.events for message in discord.messages) == 2, "both failures are told")


FLASK = [str(VENV / "bin/opentelemetry-instrument"), "flask", "--app", "shop", "run", "--port", "PORT"]
PYTHON_WAYS = {
    "as the page says": {},
    "older names": {"OTEL_SEMCONV_STABILITY_OPT_IN": ""},
    "json": {"OTEL_TRACES_EXPORTER": "otlp_json_http", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "none"},
}
EXPRESS = ["node", "shop.js"]
NODE_WAYS = {
    "as the page says": {},
    "older names": {"OTEL_SEMCONV_STABILITY_OPT_IN": "", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "none"},
    "json": {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
}


@pytest.mark.parametrize("changes", PYTHON_WAYS.values(), ids=PYTHON_WAYS.keys())
def test_a_flask_application_reports_by_environment_variables_alone(python_sdk, story, shop, discord, changes):
    check(story, shop(FLASK, PYTHON, **changes), discord)


@pytest.mark.parametrize("changes", NODE_WAYS.values(), ids=NODE_WAYS.keys())
def test_an_express_application_reports_by_environment_variables_alone(node_sdk, story, shop, discord, changes):
    check(story, shop(EXPRESS, NODE, **changes), discord)
