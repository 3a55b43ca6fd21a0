"""give every customer a display name

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-06 09:00:00
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | tuple[str, ...] | None = "0003"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None


def upgrade() -> None:
    """Add the column, fill it from the name of those who are there, and only then require it."""
    op.add_column("userdata", sa.Column("display_name", sa.String(200)))
    userdata = sa.table("userdata", sa.column("name", sa.String), sa.column("display_name", sa.String))
    op.execute(userdata.update().values(display_name=sa.func.initcap(userdata.c.name)))
    op.alter_column("userdata", "display_name", nullable=False)


def downgrade() -> None:
    op.drop_column("userdata", "display_name")
