"""Only the last commit of a migration waits for the disk, and nothing of that outlives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.embedded import Embedded

pytestmark = pytest.mark.server

SHOWS = """
def upgrade():
    shown = op.get_bind().exec_driver_sql("SHOW synchronous_commit").scalar()
    op.execute(f"CREATE TABLE {revision}_{shown} (id int)")
"""


def test_the_last_commit_waits_for_all(environment: Embedded) -> None:
    environment.migrations("one", "two", "three")
    versions = environment.directory / "migrations" / "versions"
    for number in range(1, 5):
        before = f"'r{number - 1}'" if number > 1 else "None"
        text = f"from alembic import op\nrevision = 'r{number}'\ndown_revision = {before}\n{SHOWS}"
        (versions / f"r{number}.py").write_text(text)
    environment.declare(migrations={"target": "r3"})
    environment.apply()
    tables = [name for (name,) in environment.query("SELECT relname FROM pg_class WHERE relname ~ '^r[123]_'")]
    assert sorted(tables) == ["r1_off", "r2_off", "r3_on"]
    assert environment.query("SHOW synchronous_commit") == [("on",)]
    environment.declare(migrations={"target": "r4"}).apply()
    assert environment.query("SELECT to_regclass('r4_on') IS NOT NULL") == [(True,)]
