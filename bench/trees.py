"""Alembic trees to measure with: one revision, or five hundred, each of which makes a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ENV = """
import os
from alembic import context
from sqlalchemy import create_engine

url = context.config.get_main_option("sqlalchemy.url") or os.environ["DATABASE_URL"]
with create_engine(url).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

_REVISION = '''"""make table {number}"""
import sqlalchemy as sa
from alembic import op

revision = "{number:04}"
down_revision = {down}


def upgrade():
    op.create_table("t{number:04}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(200)))


def downgrade():
    op.drop_table("t{number:04}")
'''


def make(directory: Path, count: int) -> None:
    """Write an Alembic environment with ``count`` revisions, and the ``alembic.ini`` that its own command needs."""
    versions = directory / "versions"
    versions.mkdir(parents=True)
    (directory / "env.py").write_text(_ENV)
    (directory / "script.py.mako").write_text("")
    (directory / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s\n")
    for number in range(1, count + 1):
        down = f'"{number - 1:04}"' if number > 1 else None
        (versions / f"{number:04}_table.py").write_text(_REVISION.format(number=number, down=down))
