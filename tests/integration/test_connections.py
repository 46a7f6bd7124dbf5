"""The database goes away, and comes back."""

import pytest
from sqlalchemy import text

from app import extensions
from app.extensions import db
from tests.integration.helpers import codes
from tools.story import record

OTHERS = text(
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def test_connections_that_the_database_closed_meanwhile_are_replaced(app, story, monkeypatch):
    """Whichever way a statement takes to it: this is what a restart of PostgreSQL leaves behind."""
    monkeypatch.setattr(extensions, "UNSEEN", -1.0)
    path = f"/http-traffic-records/{story.source_id}"
    story.client.post(path, record())
    with app.app_context():
        if db.is_postgresql:
            db.session.execute(OTHERS)
    answers = [story.client.post(path, record(pathnameUrl=f"/{number}")) for number in range(2)]
    assert codes([*answers, story.client.get(f"/webhooks/{story.source_id}")]) == [200, 201, 201]


def test_what_a_migration_changed_under_a_running_service_is_prepared_anew(app, story):
    """PostgreSQL refuses to execute what was prepared before, and returns something else now."""
    with app.app_context():
        if not db.is_postgresql:
            pytest.skip("SQLite prepares anew.")
    path = f"/webhooks/{story.source_id}"
    story.client.get(path)
    try:
        alter(app, 201)
        assert codes([story.client.get(path) for _ in range(3)]) == [200, 200, 500]
    finally:
        alter(app, 200)
        story.client.get(path)


def alter(app, length):
    with app.app_context():
        db.session.execute(text(f"ALTER TABLE webhooks ALTER value_template TYPE VARCHAR({length})"))
        db.session.commit()
