"""find customers by name

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-04 09:00:00
"""

from alembic import op

revision: str = "0002"
down_revision: str | tuple[str, ...] | None = "0001"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None


def upgrade() -> None:
    op.create_index("ix_userdata_name", "userdata", ["name"])


def downgrade() -> None:
    op.drop_index("ix_userdata_name", "userdata")
