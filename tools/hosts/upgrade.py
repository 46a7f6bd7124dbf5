"""Migrations such as a release might bring: they add columns on which the old code does not depend."""

import shutil
import tempfile
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from tools.faults.databases import Database
from tools.processes import FLASK, ROOT, Service

TABLES = ("http_traffic_records", "deliveries", "webhooks", "destinations")
COLUMN = "added_by_the_suite"
MIGRATION = '''"""add a column that nothing uses"""

import sqlalchemy as sa
from alembic import op

revision = '{revision}'
down_revision = '{previous}'


def upgrade():
    op.add_column('{table}', sa.Column('{column}', sa.Text(), nullable=True))
'''


def migrate(service: Service) -> None:
    """Run the repository's migrations and one MIGRATION for each of TABLES, on the service's host."""
    with tempfile.TemporaryDirectory(prefix="migrations") as folder:
        copy = Path(folder) / "migrations"
        shutil.copytree(ROOT / "migrations", copy, ignore=shutil.ignore_patterns("__pycache__"))
        config = Config()
        config.set_main_option("script_location", str(copy))
        previous = ScriptDirectory.from_config(config).get_current_head()
        for table in TABLES:
            revision = f"suite_{table}"[:32]
            text = MIGRATION.format(revision=revision, previous=previous, table=table, column=COLUMN)
            (copy / "versions" / f"{revision}.py").write_text(text)
            previous = revision
        done = service.run([*FLASK, "db", "upgrade", "--directory", str(copy)])
        assert done.returncode == 0, done.stderr


def is_done(database: Database) -> bool:
    engine = database.engine
    try:
        columns = inspect(engine).get_columns(TABLES[-1])
        return COLUMN in {column["name"] for column in columns}
    finally:
        engine.dispose()
