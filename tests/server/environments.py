"""What ``env.py`` and the template of a revision look like in the tests that compare models."""

from __future__ import annotations

import textwrap

import trees
from support.env_files import asynchronous

MODELS = """
import sqlalchemy as sa
from alembic import context
from sqlalchemy import create_engine, pool

target_metadata = sa.MetaData(naming_convention={"uq": "uq_%(table_name)s_%(column_0_name)s"})
sa.Table("alpha", target_metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(20)))
"""
MAKO = '''"""${message}"""
import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
def upgrade():
    ${upgrades if upgrades else 'pass'}
def downgrade():
    ${downgrades if downgrades else 'pass'}
'''
CONFIGURED = "target_metadata=target_metadata, include_schemas=True"
ONLINE = MODELS + trees.ENV.replace("connection=connection", f"connection=connection, {CONFIGURED}")
BOTH = f"""{MODELS}
if context.is_offline_mode():
    context.configure(url=context.config.get_main_option("sqlalchemy.url"), {CONFIGURED})
    with context.begin_transaction():
        context.run_migrations()
else:
{textwrap.indent(ONLINE, "    ")}
"""
ASYNC = asynchronous(CONFIGURED, MODELS)
