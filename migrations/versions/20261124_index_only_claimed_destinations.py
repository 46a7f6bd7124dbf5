"""index only claimed destinations

Revision ID: 8f4b2d6a1c93
Revises: be27d03c0428
Create Date: 2026-11-24 10:30:00
"""

import sqlalchemy as sa
from alembic import op

revision = "8f4b2d6a1c93"
down_revision = "be27d03c0428"
branch_labels = None
depends_on = None

NAME = "ix_destinations_claimed_at"
CLAIMED = sa.text("claimed_at IS NOT NULL")


def upgrade():
    op.drop_index(NAME, "destinations")
    op.create_index(NAME, "destinations", ["claimed_at"], sqlite_where=CLAIMED, postgresql_where=CLAIMED)


def downgrade():
    op.drop_index(NAME, "destinations")
    op.create_index(NAME, "destinations", ["claimed_at"])
