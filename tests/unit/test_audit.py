"""What `make audit` makes of pip-audit's findings."""

from tools.audit import UNREACHABLE, vulnerabilities_in

SOUND = {"name": "flask", "version": "3.1.3", "vulns": []}
SKIPPED = {"name": "flask", "skip_reason": "Dependency not found on PyPI"}


def test_a_known_vulnerability_is_named_with_its_remedy(capsys):
    found = {"id": "PYSEC-2026-1", "fix_versions": ["3.1.4"], "aliases": [], "description": ""}
    assert vulnerabilities_in([SKIPPED, SOUND | {"vulns": [found]}]) == "flask 3.1.3: PYSEC-2026-1, fixed in ['3.1.4']"


def test_what_was_not_audited_is_said(capsys):
    assert vulnerabilities_in([SOUND, SKIPPED]) is None
    assert capsys.readouterr().out == "1 of 2 packages audited.\n"
    assert vulnerabilities_in([SKIPPED]) is None
    assert capsys.readouterr().out == f"{UNREACHABLE}\n"
