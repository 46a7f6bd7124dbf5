"""know repeated reports

A report may carry its client's own id; a unique index allows each id once per traffic source.

Revision ID: d7a3b0c5f214
Revises: c41d9a6e20b7
"""

import sqlalchemy as sa
from alembic import op

revision = 'd7a3b0c5f214'
down_revision = 'c41d9a6e20b7'
branch_labels = None
depends_on = None

INDEX = 'ix_http_traffic_records_report_id'
GIVEN = sa.text('report_id IS NOT NULL')


def upgrade():
    op.add_column('http_traffic_records', sa.Column('report_id', sa.String(64), nullable=True))
    op.create_index(
        INDEX,
        'http_traffic_records',
        ['traffic_source_id', 'report_id'],
        unique=True,
        sqlite_where=GIVEN,
        postgresql_where=GIVEN,
    )


def downgrade():
    op.drop_index(INDEX, 'http_traffic_records')
    with op.batch_alter_table('http_traffic_records') as batch_op:
        batch_op.drop_column('report_id')
