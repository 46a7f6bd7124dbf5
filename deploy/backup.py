"""Saves and restores the service's database, and the secrets that it made under ``instance/``.

    .venv/bin/python -m deploy.backup save /var/backups/arkyn-webhooks
    .venv/bin/python -m deploy.backup restore /var/backups/arkyn-webhooks/2026-11-24T02-15-00Z

DATABASE_URL names the database, as for the service. ``save`` may run while the service runs. ``restore`` overwrites
nothing: it needs an empty PostgreSQL database, or no SQLite file, and no other secrets. PostgreSQL needs ``pg_dump``
and ``pg_restore``, not older than the server.
"""

import argparse
import filecmp
import os
import shutil
import sqlite3
import subprocess  # nosec B404
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.engine import URL

from app.config import ConfigurationError, load_settings

INSTANCE = Path(__file__).parents[1] / "instance"
DATABASES = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}


def save(backups: Path, url: URL) -> Path:
    """Save into a new folder of ``backups``, which appears only once it is complete. Returns the folder."""
    name = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}"
    backups.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=backups, prefix="unfinished-") as unfinished:
        folder = Path(unfinished) / name
        folder.mkdir()
        save_database(folder / DATABASES[url.get_backend_name()], url)
        shutil.copytree(INSTANCE, folder / "instance", ignore=shutil.ignore_patterns(f"{sqlite_file(url).name}*"))
        os.sync()
        return folder.rename(backups / name)


def restore(folder: Path, url: URL) -> None:
    restore_secrets(folder / "instance")
    restore_database(folder / DATABASES[url.get_backend_name()], url)


def save_database(target: Path, url: URL) -> None:
    """Save a consistent snapshot, while others write."""
    if url.get_backend_name() == "postgresql":
        run_postgresql(url, "pg_dump", "--format=custom", f"--file={target}")
        return
    with (
        closing(sqlite3.connect(f"{sqlite_file(url).as_uri()}?mode=rw", uri=True)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)


def restore_database(saved: Path, url: URL) -> None:
    if url.get_backend_name() == "postgresql":
        run_postgresql(url, "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-acl", saved)
        return
    file = sqlite_file(url)
    # SQLite would replay a WAL file that another database left behind into this one.
    refuse_to_overwrite([Path(f"{file}{suffix}") for suffix in ("", "-wal", "-shm")])
    shutil.copyfile(saved, file)
    os.sync()


def restore_secrets(saved: Path) -> None:
    files = [file.relative_to(saved) for file in saved.rglob("*") if file.is_file()]
    refuse_to_overwrite([INSTANCE / file for file in files if not is_same(saved / file, INSTANCE / file)])
    shutil.copytree(saved, INSTANCE, dirs_exist_ok=True)


def sqlite_file(url: URL) -> Path:
    return INSTANCE.absolute() / str(url.database)


def run_postgresql(url: URL, command: str, *options: str | Path) -> None:
    """Run ``command`` on the database; the password stays out of the process list."""
    database = url.set(drivername="postgresql", password=None).render_as_string()
    password = {"PGPASSWORD": str(url.password)} if url.password else {}
    subprocess.run([command, f"--dbname={database}", *options], env=os.environ | password, check=True)  # nosec B603


def is_same(saved: Path, present: Path) -> bool:
    return present.exists() and filecmp.cmp(saved, present, shallow=False)


def refuse_to_overwrite(files: list[Path]) -> None:
    if present := [str(file) for file in files if file.exists()]:
        sys.exit(f"Nothing is overwritten: stop the service and move away {', '.join(present)}.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.backup")
    parser.add_argument("command", choices=["save", "restore"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    os.umask(0o077)
    try:
        url = load_settings()["DATABASE_URL"]
        if arguments.command == "restore":
            restore(arguments.folder, url)
        else:
            print(save(arguments.folder, url))
    except (ConfigurationError, OSError, sqlite3.Error, subprocess.CalledProcessError) as error:
        sys.exit(f"{arguments.command} failed: {error}")


if __name__ == "__main__":
    main()
