"""What is written down says what the code does."""

import hashlib
import json
import re
import subprocess
from datetime import date
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from app import __version__, create_app
from app.config import SettingsSchema

ROOT = Path(__file__).parents[2]


def served_openapi(tmp_path):
    return create_app({"DATABASE_URL": "sqlite://"}, str(tmp_path)).test_client().get("/openapi.json").json


def test_openapi_json_in_the_repository_is_what_the_service_serves(tmp_path):
    written = json.loads((ROOT / "openapi.json").read_text())
    assert written == served_openapi(tmp_path), "run `make openapi`"


def test_the_openapi_document_is_valid(tmp_path):
    validate(served_openapi(tmp_path))


def test_every_operation_has_an_id_a_summary_a_tag_and_its_errors(tmp_path):
    for path, operations in served_openapi(tmp_path)["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            where = f"{method} {path}"
            assert operation["operationId"], where
            assert operation["summary"], where
            assert operation["tags"], where
            assert "500" in operation["responses"], where
            assert ("401" in operation["responses"]) == bool(operation["security"] or path == "/user/auth"), where


def test_create_webhook_is_documented_as_the_page_of_arkyns_documentation_says(tmp_path):
    operation = served_openapi(tmp_path)["paths"]["/webhooks/{trafficSourceId}"]["post"]
    assert operation["summary"] == "Create Webhook"
    assert {"201", "400", "401", "403", "404", "409", "500"} <= set(operation["responses"])
    body = operation["requestBody"]["content"]["application/json"]
    assert body["example"] == {"type": "discord", "level": "fatal", "value": "123456789"}


def test_the_page_of_settings_lists_every_setting_with_its_default():
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*?) \|$", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    settings = SettingsSchema().fields
    expected = [(name, shown(field.load_default), field.metadata["description"]) for name, field in settings.items()]
    assert rows == expected


def test_every_line_of_the_threat_model_names_tests_that_exist():
    rows = re.findall(r"^\| (?!who|---).*\|$", (ROOT / "docs/security.md").read_text(), re.MULTILINE)
    code = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))
    named = [set(re.findall(r"`(test_\w+)`", row.split("|")[4])) for row in rows]
    assert all(named)
    assert set().union(*named) - there == set()


def test_the_changelog_tells_of_the_version_that_runs_after_what_is_not_released():
    releases = re.findall(r"^## \[(.+?)\](?: - (.+))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == ("Unreleased", "")
    version, day = releases[1]
    assert version == __version__
    assert date.fromisoformat(day)


def headings(document):
    """The anchors of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda path: path.name)
def test_every_link_between_documents_leads_somewhere(document):
    text = document.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


def test_an_image_is_built_from_what_it_copies_and_sees_nothing_else():
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", (ROOT / "deploy/Containerfile").read_text(), re.MULTILINE)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == set(" ".join(copied).split())


def test_make_help_names_every_target_that_is_for_people():
    makefile = (ROOT / "Makefile").read_text()
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    named = re.findall(r"^make ([a-z]+)  +\S", done.stdout, re.MULTILINE)
    assert named == re.findall(r"^([a-z]+):.*##", makefile, re.MULTILINE)
    assert set(named) == set(re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)[0].split())


def test_files_of_others_are_what_the_list_says_and_have_their_licence():
    listed = json.loads((ROOT / "vendored.json").read_text())
    for file in listed:
        content = (ROOT / file["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"], file["path"]
        assert file["version"].encode() in content, file["path"]
        assert (ROOT / file["licence"]).read_text()
    minified = {
        str(path.relative_to(ROOT))
        for folder in ("app", "tests")
        for path in (ROOT / folder).rglob("*.min.js")
        if "node_modules" not in path.parts
    }
    assert minified == {file["path"] for file in listed}


def shown(default):
    if default is None:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
