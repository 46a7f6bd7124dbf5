"""Checks readiness: database reachable, migrated and writable, and a dispatcher's heartbeat."""

import os
import re
from datetime import timedelta
from functools import cache
from pathlib import Path
from time import monotonic

from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

from app.extensions import db
from app.repositories import dispatchers
from app.repositories.failures import DISK_FULL, UNMIGRATED, UNREACHABLE, reason

MIGRATIONS = Path(__file__).parents[2] / "migrations"
REVISION = re.compile(r"""^revision = ["'](\w+)["']$""", re.MULTILINE)
DOWN_REVISION = re.compile(r"""^down_revision = ["'](\w+)["']$""", re.MULTILINE)
DISPATCHER_SEEN_WITHIN = timedelta(seconds=20)
# How long a write refused by a full disk counts, and the free space below which SQLite's disk counts as full.
FULL_SECONDS = 30.0
MIN_FREE_BYTES = 1_048_576

_full_until = 0.0


def problems() -> dict[str, str]:
    """Problems by part (``database``, ``dispatcher``); empty if the service is ready."""
    try:
        if not _is_migrated():
            return {"database": UNMIGRATED}
        silent = dispatchers.seconds_since_heartbeat()
    except SQLAlchemyError as error:
        return {"database": reason(error) or UNREACHABLE}
    if _is_full():
        return {"database": DISK_FULL}
    if silent is None or silent > DISPATCHER_SEEN_WITHIN.total_seconds():
        return {"dispatcher": "No dispatcher was seen lately: notifications wait until one runs."}
    return {}


def _is_migrated() -> bool:
    """True also for a newer, unknown revision: old code serves on until it is replaced."""
    if not inspect(db.session.connection()).has_table("alembic_version"):
        return False
    current = set(db.session.scalars(text("SELECT version_num FROM alembic_version")))
    known, latest = _revisions()
    return current == {latest} or bool(current - known)


@cache
def _revisions() -> tuple[set[str], str]:
    """All revisions, and the latest. Parsed without Alembic, which takes 10 MB of memory."""
    scripts = "\n".join(file.read_text() for file in MIGRATIONS.glob("versions/*.py"))
    known = set(REVISION.findall(scripts))
    (latest,) = known - set(DOWN_REVISION.findall(scripts))
    return known, latest


def note_refusal(meaning: str) -> None:
    """Remember that a write was refused because the disk is full."""
    global _full_until
    if meaning == DISK_FULL:
        _full_until = monotonic() + FULL_SECONDS


def _is_full() -> bool:
    """Whether the disk is full, by recent refused writes and, for SQLite, by the file system's free space."""
    return monotonic() < _full_until or _has_no_room()


def _has_no_room() -> bool:
    file = db.engine.url.database
    if db.is_postgresql or not file:
        return False
    try:
        found = os.statvfs(Path(file).parent)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < MIN_FREE_BYTES
