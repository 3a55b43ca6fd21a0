"""orders have a status

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-07 09:00:00
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | tuple[str, ...] | None = "0004"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None


STATUS = sa.Enum("new", "paid", "shipped", "cancelled", name="order_status")


def upgrade() -> None:
    STATUS.create(op.get_bind())
    op.add_column("orders", sa.Column("status", STATUS, server_default="new", nullable=False))


def downgrade() -> None:
    op.drop_column("orders", "status")
    STATUS.drop(op.get_bind())
