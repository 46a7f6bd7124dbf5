"""One history of migrations, for both databases, that leads to the models."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask_migrate import downgrade, stamp, upgrade
from sqlalchemy import inspect, text

from app import create_app
from app.extensions import db, init_migrations
from app.security.keyring import KeyRing
from tools.databases import postgresql


def application(url, folder):
    app = create_app({"DATABASE_URL": url}, str(folder))
    init_migrations(app)
    return app


@pytest.fixture(params=["sqlite", "postgresql"])
def unmigrated(request, tmp_path, worker_id):
    if request.param == "sqlite":
        yield application(f"sqlite:///{tmp_path}/migrations.sqlite3", tmp_path)
        return
    with postgresql(f"migrations_{worker_id}") as url:
        app = application(url, tmp_path)
        yield app
        with app.app_context():
            db.engine.dispose()


def test_migrations_lead_to_the_models_and_back(unmigrated):
    with unmigrated.app_context():
        upgrade("migrations")
        with db.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, db.metadata) == []
        downgrade("migrations", revision="base")
        assert inspect(db.engine).get_table_names() == ["alembic_version"]
        upgrade("migrations")
        db.engine.dispose()


def test_every_constraint_has_a_name(unmigrated):
    with unmigrated.app_context():
        upgrade("migrations")
        inspector = inspect(db.engine)
        for table in db.metadata.tables:
            found = [*inspector.get_unique_constraints(table), *inspector.get_foreign_keys(table)]
            assert all(constraint["name"] for constraint in found), table
        db.engine.dispose()


BEFORE, ENCRYPTED = "3d0c6c1f5b7e", "5c1f0e7a9b42"
NOW = "2026-11-23 12:00:00"
# More than the migration takes at a time.
TOKENS = [f"canary-plain-token-{number:04}" for number in range(1_001)]


def key(table, number):
    return f"0198000000007000800{table}{number:012}"


def plant():
    """Webhooks as they were before, and a delivery of each."""
    insert("users", id=key(1, 0), name="Ana", email="ana", password_hash="", utc=0, token_version=0)
    insert("destinations", id="webhooks/1", kind="webhooks")
    for number, token in enumerate([*TOKENS, None]):
        insert("traffic_sources", id=key(2, number), name="", traffic_domain=str(number), user_id=key(1, 0))
        webhook = {"type": "discord", "level": "info", "state": "active", "incident_events": 0, "value_template": ""}
        owner = {"destination_id": "webhooks/1", "traffic_source_id": key(2, number)}
        insert("webhooks", id=key(3, number), token=token, **webhook, **owner)
        delivery = {"state": "pending", "event_count": 1, "digest": "{}", "attempts": 0}
        insert("deliveries", id=key(4, number), webhook_id=key(3, number), **delivery)
    db.session.commit()


def insert(table, **row):
    if table != "destinations":
        row["created_at"] = NOW
    if table not in ("destinations", "deliveries"):
        row["updated_at"] = NOW
    values = ", ".join(f":{name}" for name in row)
    db.session.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"), row)


def tokens():
    found = db.session.scalars(text("SELECT token FROM webhooks ORDER BY id")).all()
    db.session.remove()
    return found


def test_tokens_that_were_kept_as_plain_text_are_encrypted_in_place_and_leave_nothing(unmigrated, tmp_path):
    with unmigrated.app_context():
        upgrade("migrations", revision=BEFORE)
        plant()
        upgrade("migrations", revision=ENCRYPTED)
        keyring = KeyRing(unmigrated.config["ENCRYPTION_KEYS"])
        *encrypted, none = tokens()
        assert none is None
        assert [keyring.decrypt(token) for token in encrypted] == TOKENS
        assert db.session.scalar(text("SELECT count(*) FROM deliveries")) == len(TOKENS) + 1
        db.session.remove()
        assert not [file for file in tmp_path.glob("*.sqlite3*") if b"canary-plain" in file.read_bytes()]
        stamp("migrations", revision=BEFORE)
        upgrade("migrations", revision=ENCRYPTED)
        assert tokens() == [*encrypted, None], "an upgrade that was cut off can be run again"
        downgrade("migrations", revision=BEFORE)
        assert tokens() == [*TOKENS, None]
        db.engine.dispose()
