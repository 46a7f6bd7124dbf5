"""Fixtures of the tests of what is deployed: a release as the container image holds it, and its service."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import BOT_TOKEN
from tools.fake_discord import Discord
from tools.processes import ROOT, Service


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder with what the container image holds of this repository, and nothing else."""
    folder = tmp_path / "release"
    containerfile = (ROOT / "deploy" / "Containerfile").read_text()
    final_stage = containerfile.rpartition("\nFROM ")[2]
    for sources in re.findall(r"^COPY ([^-].*) \S+$", final_stage, re.MULTILINE):
        for name in sources.split():
            copy(name, folder)
    return folder


def copy(name: str, folder: Path) -> None:
    """Copy ``name``, a file or folder of this repository, to the same place in ``folder``."""
    source, target = ROOT / name, folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


@pytest.fixture
def database_url() -> str:
    """Under the release's own instance folder."""
    return "sqlite:///app.sqlite3"


@pytest.fixture
def service(release: Path, database_url: str, discord: Discord, tmp_path: Path) -> Iterator[Service]:
    """The release over an empty database, migrated and not started. It makes its secrets itself."""
    settings = {"DATABASE_URL": database_url, "DISCORD_API_URL": discord.url, "DISCORD_BOT_TOKEN": BOT_TOKEN}
    service = Service(tmp_path, settings, release)
    service.migrate()
    try:
        yield service
    finally:
        service.stop()
        print(service.log)
