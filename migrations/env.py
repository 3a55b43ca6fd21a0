"""Connects Alembic to the database: the URL that `provision` hands in, else the one in `DATABASE_URL`."""

import os

from alembic import context
from sqlalchemy import create_engine, pool

from migrations.models import Base

config = context.config
url = config.get_main_option("sqlalchemy.url") or os.environ.get("DATABASE_URL")
if url is None:
    message = "set DATABASE_URL, for example to postgresql+psycopg2://postgres:secret@127.0.0.1:5432/shop"
    raise SystemExit(message)


def run_offline() -> None:
    """Print the statements (`alembic upgrade --sql`) instead of running them."""
    context.configure(url=url, target_metadata=Base.metadata, literal_binds=True, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run the revisions, each in a transaction of its own."""
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
