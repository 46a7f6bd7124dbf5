"""The database goes away, and comes back."""

import psycopg
import pytest
from sqlalchemy import String, make_url, text

from app import extensions
from app.config import flask_config
from app.extensions import db
from app.repositories.statements import Statement
from tests.integration.helpers import codes
from tools.story import record

OTHERS = text(
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def test_connections_that_the_database_closed_meanwhile_are_replaced(app, story, monkeypatch):
    """Whichever way a statement takes to it: this is what a restart of PostgreSQL leaves behind."""
    monkeypatch.setattr(extensions, "IDLE_CHECK_SECONDS", -1.0)
    path = f"/http-traffic-records/{story.source_id}"
    story.client.post(path, record())
    with app.app_context():
        if db.is_postgresql:
            db.session.execute(OTHERS)
    answers = [story.client.post(path, record(pathnameUrl=f"/{number}")) for number in range(2)]
    assert codes([*answers, story.client.get(f"/webhooks/{story.source_id}")]) == [200, 201, 201]


def test_what_a_migration_changed_under_a_running_service_is_prepared_anew(app):
    """PostgreSQL refuses to execute what was prepared before, and returns something else now."""
    with app.app_context():
        if not db.is_postgresql:
            pytest.skip("SQLite prepares anew.")
        statement = Statement("SELECT name FROM altered", {}, {"name": String()})
        url = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE altered AS SELECT 'kept' AS name")
            try:
                statement.run({})
                connection.execute("ALTER TABLE altered ALTER name TYPE varchar(10)")
                with pytest.raises(psycopg.errors.FeatureNotSupported):
                    statement.run({})
                assert statement.run({}) == [{"name": "kept"}]
            finally:
                connection.execute("DROP TABLE altered")


def test_a_lost_host_is_noticed_by_probes_and_parameters_of_the_databases_url_win():
    url = make_url("postgresql://somebody@one,two/name?connect_timeout=3&target_session_attrs=read-write")
    options = flask_config({"DATABASE_URL": url})["SQLALCHEMY_ENGINE_OPTIONS"]["connect_args"]
    assert "connect_timeout" not in options
    assert options["tcp_user_timeout"] == 10_000
    assert options["keepalives_idle"] + options["keepalives_interval"] * options["keepalives_count"] <= 15
