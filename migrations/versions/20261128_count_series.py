"""count series

Adds the series, and to records the order of their arrival, by which dispatchers know what is not counted yet. Stored
records are numbered, so dispatchers count them after the upgrade.

Revision ID: 4e9b7c21d6a8
Revises: d7a3b0c5f214
"""

import sqlalchemy as sa
from alembic import op

revision = '4e9b7c21d6a8'
down_revision = 'd7a3b0c5f214'
branch_labels = None
depends_on = None

RECORDS = 'http_traffic_records'


def upgrade():
    op.create_table(
        'series_points',
        sa.Column('traffic_source_id', sa.Uuid(as_uuid=False), nullable=False),
        sa.Column('span', sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column('minute', sa.Integer(), autoincrement=False, nullable=False),
        sa.Column('fatal', sa.Integer(), nullable=False),
        sa.Column('warning', sa.Integer(), nullable=False),
        sa.Column('info', sa.Integer(), nullable=False),
        sa.Column('latencies', sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint('traffic_source_id', 'span', 'minute', name='pk_series_points'),
    )
    op.create_index('ix_series_points_minute', 'series_points', ['minute'])
    op.create_table(
        'series_position',
        sa.Column('id', sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column('counted_to', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_series_position'),
    )
    if op.get_context().dialect.name == 'postgresql':
        op.execute(f'ALTER TABLE {RECORDS} ADD COLUMN arrival BIGSERIAL')
    else:
        op.add_column(RECORDS, sa.Column('arrival', sa.BigInteger(), nullable=False, server_default='0'))
        op.execute(f'UPDATE {RECORDS} SET arrival = rowid')  # noqa: S608 # nosec B608
    op.create_index('ix_http_traffic_records_arrival', RECORDS, ['arrival'])


def downgrade():
    op.drop_index('ix_http_traffic_records_arrival', RECORDS)
    with op.batch_alter_table(RECORDS) as batch_op:
        batch_op.drop_column('arrival')
    op.drop_table('series_position')
    op.drop_table('series_points')
