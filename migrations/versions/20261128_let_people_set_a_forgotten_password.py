"""let people set a forgotten password

Revision ID: 5d0e7c81b3a6
Revises: e2b90f4c7d15
"""

import sqlalchemy as sa
from alembic import op

revision = '5d0e7c81b3a6'
down_revision = 'e2b90f4c7d15'
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table('users') as batch_op:
        batch_op.add_column(sa.Column('email_confirmed', sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_table(
        'password_links',
        sa.Column('token_hash', sa.String(64), nullable=False),
        sa.Column('user_id', sa.Uuid(as_uuid=False), nullable=False),
        sa.Column('email', sa.String(254), nullable=False),
        sa.Column('token_version', sa.Integer(), nullable=False),
        sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ['user_id'], ['users.id'], name=op.f('fk_password_links_user_id_users'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('token_hash', name=op.f('pk_password_links')),
    )
    op.create_index('ix_password_links_user_id', 'password_links', ['user_id'])
    op.create_index('ix_password_links_expires_at', 'password_links', ['expires_at'])


def downgrade():
    op.drop_table('password_links')
    with op.batch_alter_table('users') as batch_op:
        batch_op.drop_column('email_confirmed')
