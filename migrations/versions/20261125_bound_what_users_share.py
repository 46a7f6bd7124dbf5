"""bound what users share

Makes counters BIGINT, indexes pending deliveries by webhook for the dispatchers' scan, adds columns for webhooks set
aside, and lets webhooks and sources be marked as deleted and purged in batches.

Revision ID: c41d9a6e20b7
Revises: 8f4b2d6a1c93
"""

import sqlalchemy as sa
from alembic import op

revision = 'c41d9a6e20b7'
down_revision = '8f4b2d6a1c93'
branch_labels = None
depends_on = None

ID = sa.Uuid(as_uuid=False)
PENDING = sa.text("state = 'pending'")
DELETED_WEBHOOK = sa.text('traffic_source_id IS NULL')
DELETED_SOURCE = sa.text('user_id IS NULL')


def upgrade():
    op.drop_index('ix_deliveries_due', 'deliveries')
    with op.batch_alter_table('deliveries') as batch_op:
        batch_op.alter_column('event_count', existing_type=sa.Integer(), type_=sa.BigInteger())
    op.create_index(
        'ix_deliveries_pending', 'deliveries', ['webhook_id', 'id'], sqlite_where=PENDING, postgresql_where=PENDING
    )
    with op.batch_alter_table('destinations') as batch_op:
        batch_op.alter_column('id', existing_type=sa.String(40), type_=sa.String(64))
    with op.batch_alter_table('webhooks') as batch_op:
        batch_op.alter_column('destination_id', existing_type=sa.String(40), type_=sa.String(64))
        batch_op.alter_column('incident_events', existing_type=sa.Integer(), type_=sa.BigInteger())
        batch_op.alter_column('traffic_source_id', existing_type=ID, nullable=True)
        replace_foreign_key(batch_op, 'webhooks', 'traffic_source_id', 'traffic_sources', 'SET NULL')
    op.create_index(
        'ix_webhooks_deleted', 'webhooks', ['id'], sqlite_where=DELETED_WEBHOOK, postgresql_where=DELETED_WEBHOOK
    )
    with op.batch_alter_table('traffic_sources') as batch_op:
        batch_op.alter_column('user_id', existing_type=ID, nullable=True)
        replace_foreign_key(batch_op, 'traffic_sources', 'user_id', 'users', 'SET NULL')
    op.create_index(
        'ix_traffic_sources_deleted',
        'traffic_sources',
        ['id'],
        sqlite_where=DELETED_SOURCE,
        postgresql_where=DELETED_SOURCE,
    )
    with op.batch_alter_table('http_traffic_records') as batch_op:
        batch_op.alter_column('method', existing_type=sa.String(6), type_=sa.String(20))
    with op.batch_alter_table('dispatcher_heartbeats') as batch_op:
        batch_op.add_column(sa.Column('set_aside', sa.Integer(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('trouble', sa.String(500), nullable=True))
    op.create_table(
        'refusal_counts',
        sa.Column('user_id', ID, nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('since', sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ['user_id'], ['users.id'], name=op.f('fk_refusal_counts_user_id_users'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('user_id', name=op.f('pk_refusal_counts')),
    )
    # Every pending delivery gets a due time, and mutes are cut to the new maximum of 90 days.
    op.execute("UPDATE deliveries SET next_attempt_at = created_at WHERE state = 'pending' AND next_attempt_at IS NULL")
    days = "datetime('now', '+90 days')" if op.get_bind().dialect.name == 'sqlite' else "now() + interval '90 days'"
    op.execute(f'UPDATE webhooks SET muted_until = {days} WHERE muted_until > {days}')  # noqa: S608  # nosec B608


def downgrade():
    op.drop_table('refusal_counts')
    with op.batch_alter_table('dispatcher_heartbeats') as batch_op:
        batch_op.drop_column('trouble')
        batch_op.drop_column('set_aside')
    op.execute("DELETE FROM http_traffic_records WHERE length(method) > 6")
    with op.batch_alter_table('http_traffic_records') as batch_op:
        batch_op.alter_column('method', existing_type=sa.String(20), type_=sa.String(6))
    op.execute('DELETE FROM deliveries WHERE webhook_id IN (SELECT id FROM webhooks WHERE traffic_source_id IS NULL)')
    op.execute('DELETE FROM webhooks WHERE traffic_source_id IS NULL')
    op.execute('DELETE FROM traffic_sources WHERE user_id IS NULL')
    op.drop_index('ix_traffic_sources_deleted', 'traffic_sources')
    with op.batch_alter_table('traffic_sources') as batch_op:
        batch_op.alter_column('user_id', existing_type=ID, nullable=False)
        replace_foreign_key(batch_op, 'traffic_sources', 'user_id', 'users', 'CASCADE')
    op.drop_index('ix_webhooks_deleted', 'webhooks')
    with op.batch_alter_table('webhooks') as batch_op:
        batch_op.alter_column('traffic_source_id', existing_type=ID, nullable=False)
        batch_op.alter_column('incident_events', existing_type=sa.BigInteger(), type_=sa.Integer())
        replace_foreign_key(batch_op, 'webhooks', 'traffic_source_id', 'traffic_sources', 'CASCADE')
    op.drop_index('ix_deliveries_pending', 'deliveries')
    with op.batch_alter_table('deliveries') as batch_op:
        batch_op.alter_column('event_count', existing_type=sa.BigInteger(), type_=sa.Integer())
    op.create_index(
        'ix_deliveries_due', 'deliveries', ['next_attempt_at'], sqlite_where=PENDING, postgresql_where=PENDING
    )


def replace_foreign_key(batch_op, table, column, referred, ondelete):
    name = f'fk_{table}_{column}_{referred}'
    batch_op.drop_constraint(name, type_='foreignkey')
    batch_op.create_foreign_key(name, referred, [column], ['id'], ondelete=ondelete)
