"""The alert rules are about metrics there are, and fire when they should."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.story import Story, record

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULES_TEST = RULES.with_name("alerts_test.yml")
NAME = r"arkyn_\w+"
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum")}

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool comes with Prometheus")


@pytest.fixture
def exposition(client, ana, dispatch) -> str:
    """/metrics after something of everything happened."""
    story = Story(ana)
    story.create_webhook()
    story.report()
    path = f"/http-traffic-records/{story.source_id}/batch"
    assert ana.post(path, [record()], headers={"X-Reports-Dropped": "1"}).status_code == 201
    dispatch()
    return str(client.get("/metrics").text)


def families(exposition: str) -> dict[str, str]:
    """The metrics' types by name."""
    return dict(re.findall(rf"^# TYPE ({NAME}) (\w+)$", exposition, re.MULTILINE))


def promtool(*arguments: str, **options: Any) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_their_tests_name_only_metrics_there_are(exposition):
    shown = {name + suffix for name, type in families(exposition).items() for suffix in SUFFIXES.get(type, ("",))}
    assert len(shown) > 10
    for file in (RULES, RULES_TEST):
        assert set(re.findall(NAME, file.read_text())) <= shown, file


def test_the_documentation_lists_every_metric_with_its_type(exposition):
    documented = re.findall(rf"^\| `({NAME})` \| (\w+) \|", (ROOT / "docs" / "monitoring.md").read_text(), re.MULTILINE)
    assert dict(documented) == families(exposition)


def test_every_alert_says_what_to_do_is_tested_and_is_documented():
    _, *alerts = re.split(r"^ +- alert: ", RULES.read_text(), flags=re.MULTILINE)
    assert alerts
    documented = re.findall(
        r"^\| `(Arkyn\w+)` \| (\w+) \|", (ROOT / "docs" / "monitoring.md").read_text(), re.MULTILINE
    )
    severities = {}
    for alert in alerts:
        name = alert.split()[0]
        for part in ("severity: ", "summary: ", "description: ", "runbook: "):
            assert part in alert, f"{name} lacks {part}"
        severities[name] = re.search(r"severity: (\w+)", alert)[1]
        assert name in RULES_TEST.read_text()
    assert dict(documented) == severities


@needs_promtool
def test_promtool_finds_the_rules_sound():
    promtool("check", "rules", "--lint-fatal", str(RULES))


@needs_promtool
def test_the_rules_pass_their_tests():
    promtool("test", "rules", str(RULES_TEST))


@needs_promtool
def test_promtool_finds_the_metrics_sound(exposition):
    promtool("check", "metrics", input=exposition)
