"""add destinations when sending

A dispatcher adds a destination with its first message, so that a new webhook is one statement: no foreign key. The kind
is the first part of the id.

Revision ID: c2b7d94e60f3
Revises: a84e1f5c07d2
"""

import sqlalchemy as sa
from alembic import op

revision = "c2b7d94e60f3"
down_revision = "a84e1f5c07d2"
branch_labels = None
depends_on = None

NAME = "fk_webhooks_destination_id_destinations"


def upgrade():
    with op.batch_alter_table("webhooks") as batch_op:
        batch_op.drop_constraint(NAME, type_="foreignkey")
    op.drop_column("destinations", "kind")


def downgrade():
    with op.batch_alter_table("destinations") as batch_op:
        batch_op.add_column(sa.Column("kind", sa.String(8), nullable=True))
    op.execute(
        "INSERT INTO destinations (id) SELECT DISTINCT destination_id FROM webhooks "
        "WHERE destination_id NOT IN (SELECT id FROM destinations)"
    )
    op.execute("UPDATE destinations SET kind = substr(id, 1, 8)")
    with op.batch_alter_table("destinations") as batch_op:
        batch_op.alter_column("kind", existing_type=sa.String(8), nullable=False)
    with op.batch_alter_table("webhooks") as batch_op:
        batch_op.create_foreign_key(NAME, "destinations", ["destination_id"], ["id"])
