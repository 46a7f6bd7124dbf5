"""know who set a webhook

Who answers for the messages that Discord refuses. Of webhooks there are, the owners do.

Revision ID: a84e1f5c07d2
Revises: 6d2f8a41c9e7
"""

import sqlalchemy as sa
from alembic import op

revision = 'a84e1f5c07d2'
down_revision = '6d2f8a41c9e7'
branch_labels = None
depends_on = None


def upgrade():
    op.add_column('webhooks', sa.Column('set_by_id', sa.Uuid(as_uuid=False), nullable=True))


def downgrade():
    op.drop_column('webhooks', 'set_by_id')
