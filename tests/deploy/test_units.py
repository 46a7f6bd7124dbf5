"""systemd finds nothing wrong with the units, and little that they leave open."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.processes import ROOT

UNITS = [file.name for file in (ROOT / "deploy" / "systemd").glob("*.*") if file.is_file()]
SERVICES = [name for name in UNITS if name.endswith(".service")]
EXPOSURE = 15  # In tenths, of 100; below 20 systemd says "OK".


def systemd_version():
    if shutil.which("systemd-analyze") is None:
        return 0
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=False).stdout
    return int(re.search(r"systemd (\d+)", said)[1])


pytestmark = pytest.mark.skipif(systemd_version() < 250, reason="needs systemd-analyze of systemd 250 or newer")


@pytest.fixture
def units(tmp_path):
    """The units as they are, but for a service that is installed here."""
    folder = shutil.copytree(ROOT / "deploy" / "systemd", tmp_path / "units")
    for file in [*folder.rglob("*.service"), *folder.rglob("*.conf")]:
        text = file.read_text().replace("/opt/arkyn-webhooks/.venv", sys.prefix)
        file.write_text(text.replace("/opt/arkyn-webhooks", str(ROOT)))
    return folder


def analyze(*arguments: str | Path):
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_every_line_of_the_units(units, unit):
    done = analyze("verify", units / unit)
    # Other units of this machine may have warnings of their own.
    assert [line for line in done.stderr.splitlines() if "arkyn-webhooks" in line] == []
    assert done.returncode == 0


@pytest.mark.parametrize("unit", SERVICES)
def test_what_a_unit_can_reach_is_limited(units, unit):
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", units / unit)
    assert done.returncode == 0, done.stdout
