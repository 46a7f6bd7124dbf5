"""``make audit``: checks requirements.txt for known vulnerabilities, by PyPI's advisories."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 300
UNREACHABLE = "NOT audited: the advisory service cannot be reached from here."
COMMAND = [
    str(Path(sys.executable).with_name("pip-audit")),
    # The file pins all versions, so nothing has to be resolved.
    *["--requirement", "requirements.txt", "--require-hashes", "--disable-pip"],
    *["--format", "json", "--progress-spinner", "off"],
]


def main() -> str | None:
    """The vulnerabilities found, for ``sys.exit``; None if there are none, or if the audit is impossible."""
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    if not done.stdout.startswith("{"):
        print(UNREACHABLE, *done.stderr.splitlines()[-1:])
        return None
    return vulnerabilities_in(json.loads(done.stdout)["dependencies"])


def vulnerabilities_in(dependencies: list[dict[str, Any]]) -> str | None:
    audited = [dependency for dependency in dependencies if "vulns" in dependency]
    found = [
        f"{dependency['name']} {dependency['version']}: {vulnerability['id']}, fixed in {vulnerability['fix_versions']}"
        for dependency in audited
        for vulnerability in dependency["vulns"]
    ]
    if found:
        return "\n".join(found)
    print(f"{len(audited)} of {len(dependencies)} packages audited." if audited else UNREACHABLE)
    return None


if __name__ == "__main__":
    sys.exit(main())
