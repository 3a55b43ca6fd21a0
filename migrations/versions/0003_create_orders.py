"""create orders

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-05 09:00:00
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | tuple[str, ...] | None = "0002"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("userdata_id", sa.Integer, nullable=False),
        sa.Column("total", sa.Numeric(12, 2), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_orders"),
        sa.ForeignKeyConstraint(["userdata_id"], ["userdata.id"], name="fk_orders_userdata_id", ondelete="CASCADE"),
    )
    op.create_index("ix_orders_userdata_id", "orders", ["userdata_id"])


def downgrade() -> None:
    op.drop_table("orders")
