"""``env.py`` files that the tests of several folders write."""

from __future__ import annotations


def asynchronous(options: str, head: str = "from alembic import context\nfrom sqlalchemy import pool\n") -> str:
    """Return one with an asynchronous engine; ``options`` are keywords of ``context.configure``."""
    return f"""{head}
import asyncio
from sqlalchemy.ext.asyncio import create_async_engine

def run(connection):
    context.configure(connection=connection, {options})
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

asyncio.run(main())
"""
