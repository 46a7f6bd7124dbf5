"""`make audit`: whether a known vulnerability is in what the service runs on, as PyPI's advisories have it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TIMEOUT = 300
UNREACHABLE = "NOT audited: the advisory service cannot be reached from here."
COMMAND = [
    str(Path(sys.executable).with_name("pip-audit")),
    # All versions stand in the file, so nothing has to be resolved.
    *["--requirement", "requirements.txt", "--require-hashes", "--disable-pip"],
    *["--format", "json", "--progress-spinner", "off"],
]


def main() -> str | None:
    """What is wrong, for ``sys.exit``."""
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if not done.stdout.startswith("{"):
        print(UNREACHABLE, *done.stderr.splitlines()[-1:])
        return None
    return verdict(json.loads(done.stdout)["dependencies"])


def verdict(dependencies: list[dict[str, Any]]) -> str | None:
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
