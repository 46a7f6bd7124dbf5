"""sort lists by an index

The index by which records are listed gets the columns that lists are filtered and sorted by, so that counting and
sorting the records of a source need not read them.

Revision ID: e2b90f4c7d15
Revises: 91c4f7d20b3e
"""

from alembic import op

revision = 'e2b90f4c7d15'
down_revision = '91c4f7d20b3e'
branch_labels = None
depends_on = None

TABLE = 'http_traffic_records'
OLD = 'ix_http_traffic_records_traffic_source_id_id'
NEW = 'ix_http_traffic_records_listed'


def upgrade():
    op.create_index(NEW, TABLE, ['traffic_source_id', 'id', 'method', 'status', 'level', 'elapsed_time'])
    op.drop_index(OLD, TABLE)


def downgrade():
    op.create_index(OLD, TABLE, ['traffic_source_id', 'id'])
    op.drop_index(NEW, TABLE)
