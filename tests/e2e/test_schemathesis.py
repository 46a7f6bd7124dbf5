"""Every operation of the OpenAPI document, called with all sorts of data, answers as the document says."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.marks import on_both_databases
from tools.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.spec]

SCHEMATHESIS = [str(Path(sys.executable).with_name("schemathesis")), "--config-file"]
CONFIG = str(Path(__file__).with_name("schemathesis.toml"))
# Amid all operations it deletes only what it made itself: too few cases.
FOR_DELETE = ["--phases", "fuzzing", "--include-method", "DELETE"]
AT_LEAST = 50
TIME_LIMIT = 900
# Limits that a few thousand requests a minute must not meet.
GENEROUS = dict.fromkeys(
    (
        "SIGN_IN_ADDRESS_LIMIT",
        "SIGN_IN_ACCOUNT_LIMIT",
        "SIGN_IN_ATTACK_LIMIT",
        "SIGN_UP_ADDRESS_LIMIT",
        "SIGN_UP_ACCOUNT_LIMIT",
    ),
    "1000000 per hour",
)


@on_both_databases
def test_the_service_answers_as_its_document_says(service, tmp_path):
    service.serve(**GENEROUS)
    service.client.sign_up("ana@example.com")
    calls = tmp_path / "calls"
    environ = service.environ | {
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.e2e.schemathesis_hooks",
        "SERVICE_URL": service.server.url,
        "CALLS": str(calls),
    }
    for options in ([], FOR_DELETE):
        done = subprocess.run(
            [*SCHEMATHESIS, CONFIG, "run", f"{service.server.url}/openapi.json", *options],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    made = Counter(calls.read_text().splitlines())
    assert set(made) == operations(service)
    assert {operation: times for operation, times in made.items() if times < AT_LEAST} == {}
    assert "Traceback" not in service.log


def operations(service):
    paths = service.client.get("/openapi.json").json["paths"]
    return {
        f"{method.upper()} {path}" for path, methods in paths.items() for method in methods if method != "parameters"
    }
