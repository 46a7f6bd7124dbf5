"""share traffic sources

Revision ID: 93c5a1f8e064
Revises: 5d0e7c81b3a6
"""

import sqlalchemy as sa
from alembic import op

revision = '93c5a1f8e064'
down_revision = '5d0e7c81b3a6'
branch_labels = None
depends_on = None

ID = sa.Uuid(as_uuid=False)
NAME = 'shared_traffic_sources'


def upgrade():
    op.create_table(
        NAME,
        sa.Column('id', ID, nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('traffic_source_id', ID, nullable=False),
        sa.Column('shared_with_id', ID, nullable=False),
        sa.Column('permission', sa.String(8), nullable=False),
        sa.Column('status', sa.String(8), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("permission IN ('readOnly', 'editor')", name=op.f(f'ck_{NAME}_permission')),
        sa.CheckConstraint("status IN ('pending', 'accepted', 'rejected')", name=op.f(f'ck_{NAME}_status')),
        sa.ForeignKeyConstraint(
            ['traffic_source_id'],
            ['traffic_sources.id'],
            name=op.f(f'fk_{NAME}_traffic_source_id_traffic_sources'),
            ondelete='CASCADE',
        ),
        sa.ForeignKeyConstraint(
            ['shared_with_id'], ['users.id'], name=op.f(f'fk_{NAME}_shared_with_id_users'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('id', name=op.f(f'pk_{NAME}')),
        sa.UniqueConstraint(
            'traffic_source_id', 'shared_with_id', name=op.f(f'uq_{NAME}_traffic_source_id_shared_with_id')
        ),
    )
    op.create_index(f'ix_{NAME}_shared_with_id', NAME, ['shared_with_id'])


def downgrade():
    op.drop_table(NAME)
