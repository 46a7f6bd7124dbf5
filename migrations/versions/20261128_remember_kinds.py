"""remember kinds

When a message last showed a kind of events, so that the next one can say what is new.

Revision ID: 91c4f7d20b3e
Revises: 5b0e93c7ad41
"""

import sqlalchemy as sa
from alembic import op

revision = '91c4f7d20b3e'
down_revision = '5b0e93c7ad41'
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        'seen_kinds',
        sa.Column('webhook_id', sa.Uuid(as_uuid=False), nullable=False),
        sa.Column('kind', sa.String(16), nullable=False),
        sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ['webhook_id'],
            ['webhooks.id'],
            name='fk_seen_kinds_webhook_id_webhooks',
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('webhook_id', 'kind', name='pk_seen_kinds'),
    )
    op.create_index('ix_seen_kinds_seen_at', 'seen_kinds', ['seen_at'])


def downgrade():
    op.drop_table('seen_kinds')
