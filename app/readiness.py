"""Whether the service can do its work now."""

from datetime import timedelta
from functools import cache
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from app.extensions import db
from app.models.columns import utcnow
from app.repositories import dispatchers

MIGRATIONS = Path(__file__).parent.parent / "migrations"
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
    current = MigrationContext.configure(db.session.connection()).get_current_heads()
    return set(current) == set(_heads())


@cache
def _heads() -> list[str]:
    return ScriptDirectory(MIGRATIONS).get_heads()
