"""add alerts

Conditions on the series of traffic sources, and whether they are met.

Revision ID: 6d2f8a41c9e7
Revises: 93c5a1f8e064
"""

import sqlalchemy as sa
from alembic import op

revision = '6d2f8a41c9e7'
down_revision = '93c5a1f8e064'
branch_labels = None
depends_on = None

ID = sa.Uuid(as_uuid=False)
TIME = sa.DateTime(timezone=True)


def upgrade():
    op.create_table(
        'alerts',
        sa.Column('id', ID, nullable=False),
        sa.Column('created_at', TIME, nullable=False),
        sa.Column('traffic_source_id', ID, nullable=False),
        sa.Column('kind', sa.String(10), nullable=False),
        sa.Column('threshold', sa.Double(), nullable=True),
        sa.Column('minutes', sa.Integer(), nullable=False),
        sa.Column('min_requests', sa.Integer(), nullable=True),
        sa.Column('webhook_level', sa.String(7), nullable=False),
        sa.Column('state', sa.String(6), nullable=False),
        sa.Column('since', TIME, nullable=False),
        sa.Column('next_evaluation_at', TIME, nullable=False),
        sa.CheckConstraint("kind IN ('errorRate', 'p95', 'silence')", name=op.f('ck_alerts_kind')),
        sa.CheckConstraint("state IN ('ok', 'firing')", name=op.f('ck_alerts_state')),
        sa.CheckConstraint("webhook_level IN ('fatal', 'warning', 'info')", name=op.f('ck_alerts_webhook_level')),
        sa.CheckConstraint('minutes BETWEEN 1 AND 1440', name=op.f('ck_alerts_minutes')),
        sa.ForeignKeyConstraint(
            ['traffic_source_id'],
            ['traffic_sources.id'],
            name=op.f('fk_alerts_traffic_source_id_traffic_sources'),
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_alerts')),
    )
    op.create_index(op.f('ix_alerts_traffic_source_id'), 'alerts', ['traffic_source_id'])
    op.create_index(op.f('ix_alerts_next_evaluation_at'), 'alerts', ['next_evaluation_at'])


def downgrade():
    op.drop_table('alerts')
