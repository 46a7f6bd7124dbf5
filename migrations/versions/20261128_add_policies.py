"""add policies

What a webhook's owner wants to be told: rules of ignored events, a threshold, a mention, reminders; and counts of the
events that its policy ignored or held back.

Revision ID: 5b0e93c7ad41
Revises: 4e9b7c21d6a8
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '5b0e93c7ad41'
down_revision = '4e9b7c21d6a8'
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
RULES = sa.JSON().with_variant(postgresql.JSONB(), 'postgresql')
INDEX = 'ix_webhooks_reminder'
REMINDED = sa.text('remind_after_seconds IS NOT NULL AND incident_since IS NOT NULL')
COLUMNS = {
    'ignore_rules': RULES,
    'threshold_events': sa.Integer(),
    'threshold_seconds': sa.Integer(),
    'mention_role_id': sa.String(20),
    'remind_after_seconds': sa.Integer(),
    'reminded_at': TIME,
    'next_reminder_at': TIME,
    'ignored_told_at': TIME,
}


def upgrade():
    for name, type_ in COLUMNS.items():
        op.add_column('webhooks', sa.Column(name, type_, nullable=True))
    op.add_column('webhooks', sa.Column('ignored_told', sa.BigInteger(), nullable=False, server_default='0'))
    op.create_index(INDEX, 'webhooks', ['next_reminder_at'], sqlite_where=REMINDED, postgresql_where=REMINDED)
    op.create_table(
        'policy_counts',
        sa.Column('webhook_id', sa.Uuid(as_uuid=False), nullable=False),
        sa.Column('slot', sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column('ignored', sa.BigInteger(), nullable=False),
        sa.Column('held_back', sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ['webhook_id'],
            ['webhooks.id'],
            name='fk_policy_counts_webhook_id_webhooks',
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('webhook_id', 'slot', name='pk_policy_counts'),
    )


def downgrade():
    op.drop_table('policy_counts')
    op.drop_index(INDEX, 'webhooks')
    with op.batch_alter_table('webhooks') as batch_op:
        for name in [*COLUMNS, 'ignored_told']:
            batch_op.drop_column(name)
