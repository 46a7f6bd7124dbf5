"""find notices by an index

Whether a notice is the next one of its webhook is asked at every scan: this reads none of the events that gather.

Revision ID: c6b13d9e4f70
Revises: c2b7d94e60f3
"""

import sqlalchemy as sa
from alembic import op

revision = 'c6b13d9e4f70'
down_revision = 'c2b7d94e60f3'
branch_labels = None
depends_on = None

NAME = 'ix_deliveries_with_nonce'
WITH_NONCE = sa.text("state IN ('pending', 'delivering') AND nonce IS NOT NULL")


def upgrade():
    op.create_index(
        NAME, 'deliveries', ['webhook_id', 'id'], sqlite_where=WITH_NONCE, postgresql_where=WITH_NONCE
    )


def downgrade():
    op.drop_index(NAME, 'deliveries')
