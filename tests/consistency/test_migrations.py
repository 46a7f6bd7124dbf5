"""One history of migrations, for both databases, that leads to the models."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect

from app import create_app
from app.extensions import db
from tests.databases import postgresql


@pytest.fixture(params=["sqlite", "postgresql"])
def unmigrated(request, tmp_path, worker_id):
    if request.param == "sqlite":
        yield create_app({"DATABASE_URL": f"sqlite:///{tmp_path}/migrations.sqlite3"}, str(tmp_path))
        return
    with postgresql(f"migrations_{worker_id}") as url:
        app = create_app({"DATABASE_URL": url}, str(tmp_path))
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
