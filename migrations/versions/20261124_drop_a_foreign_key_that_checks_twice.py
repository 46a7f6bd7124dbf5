"""drop a foreign key that checks twice

Revision ID: 3d0c6c1f5b7e
Revises: fa9aa68a5666
Create Date: 2026-11-24 02:25:00
"""

from alembic import op

revision = "3d0c6c1f5b7e"
down_revision = "fa9aa68a5666"
branch_labels = None
depends_on = None

NAME = "fk_http_traffic_records_traffic_source_id_traffic_sources"


def upgrade():
    with op.batch_alter_table("http_traffic_records") as batch_op:
        batch_op.drop_constraint(NAME, type_="foreignkey")


def downgrade():
    with op.batch_alter_table("http_traffic_records") as batch_op:
        batch_op.create_foreign_key(NAME, "traffic_sources", ["traffic_source_id"], ["id"], ondelete="CASCADE")
