"""create userdata

Revision ID: 0001
Revises:
Create Date: 2026-11-03 09:00:00
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | tuple[str, ...] | None = None
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None


def upgrade() -> None:
    op.create_table(
        "userdata",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("age", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_userdata"),
    )


def downgrade() -> None:
    op.drop_table("userdata")
