"""encrypt webhook tokens

Revision ID: 5c1f0e7a9b42
Revises: 3d0c6c1f5b7e
"""

import sqlalchemy as sa
from alembic import op
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from flask import current_app

revision = '5c1f0e7a9b42'
down_revision = '3d0c6c1f5b7e'
branch_labels = None
depends_on = None

BATCH_SIZE = 1000
webhooks = sa.table('webhooks', sa.column('id', sa.Uuid(as_uuid=False)), sa.column('token', sa.String()))


def upgrade():
    with op.batch_alter_table('webhooks') as batch_op:
        batch_op.alter_column('token', existing_type=sa.String(length=200), type_=sa.String(length=400))
    if rewrite(encrypt):
        vacuum()


def downgrade():
    rewrite(lambda token: keys().decrypt(token).decode())
    with op.batch_alter_table('webhooks') as batch_op:
        batch_op.alter_column('token', existing_type=sa.String(length=400), type_=sa.String(length=200))


def keys():
    return MultiFernet([Fernet(key) for key in current_app.config['ENCRYPTION_KEYS']])


def encrypt(token):
    """Encrypt a token, unless it is encrypted: the last step commits, and may fail and be run again."""
    try:
        keys().decrypt(token)
    except InvalidToken:
        return keys().encrypt(token.encode()).decode()
    return token


def rewrite(change):
    """Replace every token by ``change(token)``, in batches. Returns the number of tokens."""
    connection, last, count = op.get_bind(), '00000000-0000-0000-0000-000000000000', 0
    query = sa.select(webhooks).where(webhooks.c.token.is_not(None)).order_by(webhooks.c.id).limit(BATCH_SIZE)
    replace = sa.update(webhooks).where(webhooks.c.id == sa.bindparam('webhook'))
    while rows := connection.execute(query.where(webhooks.c.id > last)).all():
        connection.execute(
            replace.values(token=sa.bindparam('changed')),
            [{'webhook': row.id, 'changed': change(row.token)} for row in rows],
        )
        last, count = rows[-1].id, count + len(rows)
    return count


def vacuum():
    """Remove the plain tokens from the free space of the database's files."""
    with op.get_context().autocommit_block():
        if op.get_bind().dialect.name == 'sqlite':
            op.execute('VACUUM')
            op.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        else:
            op.execute('VACUUM (FULL) webhooks')
