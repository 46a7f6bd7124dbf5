"""Whether the service can do its work now."""

import re
from datetime import timedelta
from functools import cache
from pathlib import Path

from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

from app.extensions import db
from app.models.columns import utcnow
from app.repositories import dispatchers

MIGRATIONS = Path(__file__).parent.parent / "migrations"
REVISION = re.compile(r"""^revision = ["'](\w+)["']$""", re.MULTILINE)
DOWN_REVISION = re.compile(r"""^down_revision = ["'](\w+)["']$""", re.MULTILINE)
DISPATCHER_SEEN_WITHIN = timedelta(seconds=20)


def problems() -> dict[str, str]:
    """What is wrong, by part; empty where the service is ready."""
    try:
        if not _is_migrated():
            return {"database": "The database is not migrated: run `flask --app wsgi db upgrade`."}
        seen = dispatchers.last_heartbeat()
    except SQLAlchemyError:
        return {"database": "The database does not answer."}
    if seen is None or utcnow() - seen > DISPATCHER_SEEN_WITHIN:
        return {"dispatcher": "No dispatcher was seen lately: notifications wait until one runs."}
    return {}


def _is_migrated() -> bool:
    """Also where newer code migrated the database: old code is to serve on until it is replaced."""
    if not inspect(db.session.connection()).has_table("alembic_version"):
        return False
    current = set(db.session.scalars(text("SELECT version_num FROM alembic_version")))
    known, latest = _revisions()
    return current == {latest} or bool(current - known)


@cache
def _revisions() -> tuple[set[str], str]:
    """Those of all migrations, and the last. Read here because Alembic takes 10 MB to do it."""
    scripts = "\n".join(file.read_text() for file in MIGRATIONS.glob("versions/*.py"))
    known = set(REVISION.findall(scripts))
    (latest,) = known - set(DOWN_REVISION.findall(scripts))
    return known, latest
