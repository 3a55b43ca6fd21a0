"""What pending revisions lock and rewrite, seen on a scratch copy: a clone, or the applied revisions run again."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
import trees
from rehearsals import scratch_databases, tree_of

from provision.alembic.verbs.lint import Linted
from provision.alembic.verbs.trace import consequences, strongest, trace
from provision.errors import StepFailedError
from provision.report import lint as report

if TYPE_CHECKING:
    from conftest import Server

    from provision.spec.model import Migrations

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.server

PENDING = """
op.create_index("ix", "alpha", ["note"])
op.alter_column(
    "alpha",
    "note",
    type_=sa.Integer,
    postgresql_using="length(note)",
)
op.create_table("beta", sa.Column("alpha", sa.Integer, sa.ForeignKey("alpha.id")))
op.execute("SELECT 1")
with op.get_context().autocommit_block():
    op.create_index("cc", "alpha", ["note"], postgresql_concurrently=True)
"""


def declared(home: Path) -> Migrations:
    """Write a tree with one revision to be applied, and one that is pending."""
    first = 'op.create_table("alpha", sa.Column("id", sa.Integer, primary_key=True), sa.Column("note", sa.Text))'
    return trees.write(home, {"alpha": first, "beta": PENDING})


@pytest.mark.parametrize("connected", [False, True])
def test_locks_and_rewrites_are_seen(connected: bool, tmp_path: Path, database: Server) -> None:  # noqa: FBT001
    tree = tree_of(tmp_path, declared(tmp_path))
    trees.run(tree.declared, database.endpoint, "alpha")
    database.execute("INSERT INTO alpha SELECT n, 'x' FROM generate_series(1, 100) AS n", "ANALYZE alpha")
    with closing(database.connect()) as other:
        if not connected:
            other.close()
        found = trace(tree, database.endpoint, ("alpha",), ("beta",))
    assert found.is_clone is not connected
    assert (found.why is None) is not connected
    linted = Linted(("alpha",), "", ("beta",), (), 0)
    document = report.document(tree, linted, found, 1.5)
    jsonschema.validate(document, json.loads((ROOT / "docs/schema/lint.json").read_text()))
    told = {each.line - 6: (each, list(consequences(each, found.tables))) for each in found.statements}
    index, retyped, made, read, concurrently = (told[line] for line in (1, 2, 8, 9, 11))
    size = "public.alpha (about 100 rows, "
    assert index[1][0].startswith(f"SHARE on {size}")
    assert "writers wait until the commit" in index[1][0]
    assert retyped[0].rewritten == ("public.alpha",)
    assert retyped[1][0].startswith(f"ACCESS EXCLUSIVE on {size}")
    assert "readers and writers wait" in retyped[1][0]
    assert retyped[1][1].startswith("public.alpha is rewritten, with its indexes: about 100 rows")
    assert [each.table for each in strongest(made[0].locks) if not each.is_new] == []  # held already
    assert read[1] == []
    assert concurrently[0].concurrently
    assert "only VACUUM and other schema changes wait while it runs" in concurrently[1][0]
    assert index[0].held >= index[0].seconds + retyped[0].seconds
    assert scratch_databases(database) == []
    assert database.execute("SELECT version_num FROM alembic_version") == [("alpha",)]


LOCKED = """
other = sa.create_engine(op.get_bind().engine.url).connect()
other.execute(sa.text("LOCK TABLE gamma IN ACCESS EXCLUSIVE MODE"))
with op.get_context().autocommit_block():
    op.create_index("cc", "alpha", ["id"], postgresql_concurrently=True)
other.close()
"""


def test_a_table_that_the_revision_has_locked_elsewhere_does_not_stop_it(tmp_path: Path, database: Server) -> None:
    first = trees.table("alpha") + "\n" + trees.table("gamma")
    tree = tree_of(tmp_path, trees.write(tmp_path, {"alpha": first, "beta": LOCKED}))
    trees.run(tree.declared, database.endpoint, "alpha")
    found = trace(tree, database.endpoint, ("alpha",), ("beta",))
    assert [each.concurrently for each in found.statements] == [False, True]


QUICK = """
with op.get_context().autocommit_block():
    for number in range(8):
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS ix_{number}")
    for number in range(2):
        try:
            op.execute("CREATE INDEX CONCURRENTLY cc ON nowhere (id)")
        except sa.exc.ProgrammingError:
            op.get_bind().exec_driver_sql("SELECT pg_sleep(0.2)")
"""


@pytest.mark.timeout(120)  # ten statements that are waited for in vain take longer
def test_a_statement_that_has_ended_is_not_waited_for(tmp_path: Path, database: Server) -> None:
    tree = tree_of(tmp_path, trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": QUICK}))
    trees.run(tree.declared, database.endpoint, "alpha")
    found = trace(tree, database.endpoint, ("alpha",), ("beta",))
    assert [each.concurrently for each in found.statements] == [True] * 8 + [False] * 2


def test_a_revision_that_fails_fails_on_the_copy(tmp_path: Path, database: Server) -> None:
    tree = tree_of(tmp_path, trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": "op.drop_table('no')"}))
    trees.run(tree.declared, database.endpoint, "alpha")
    with pytest.raises(StepFailedError, match="revision beta") as caught:
        trace(tree, database.endpoint, ("alpha",), ("beta",))
    assert caught.value.evidence[-1] == "this was on a scratch copy; the database is as it was"
    assert scratch_databases(database) == []
