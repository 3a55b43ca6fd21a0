"""The four laws, on scratch databases of the session's server: what breaks them is named, nothing else is touched."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
import trees
from rehearsals import change, scratch_databases, tree_of, tried

from provision.alembic.verbs.database import run_scratch
from provision.alembic.verbs.laws import HEADS, MODELS, REVERSAL, UPGRADE, reversal_law
from provision.errors import StepFailedError
from provision.report import laws as report
from provision.system import scratch

if TYPE_CHECKING:
    from conftest import Server


ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.server


def test_a_tree_that_keeps_the_laws(tmp_path: Path, database: Server) -> None:
    declared = trees.write(tmp_path, {name: trees.table(name) for name in ("alpha", "beta", "gamma")})
    found = tried(tmp_path, database, declared)
    assert [law for law in found.values() if law.outcome != "passed"] == [found[MODELS]]
    assert (found[MODELS].outcome, found[MODELS].text) == ("not checked", "env.py has no target_metadata")
    assert found[REVERSAL].text == "3 revisions"
    document = report.document(tree_of(tmp_path, declared), tuple(found.values()), 1.5)
    jsonschema.validate(document, json.loads((ROOT / "docs/schema/laws.json").read_text()))


def test_what_a_downgrade_leaves_behind_is_named(tmp_path: Path, database: Server) -> None:
    declared = trees.write(tmp_path, {name: trees.table(name) for name in ("alpha", "beta", "gamma")})
    change(
        tmp_path,
        "beta",
        up="op.add_column('alpha', sa.Column('note', sa.String(20)))\nop.execute('CREATE TYPE mood AS ENUM (\\'a\\')')",
        down="op.alter_column('alpha', 'note', type_=sa.Text)",
    )
    change(tmp_path, "gamma", down="pass\nraise ValueError('no')")
    law = tried(tmp_path, database, declared)[REVERSAL]
    path = str(tmp_path / "migrations" / "versions" / "beta.py")
    assert (law.outcome, law.revision, law.path) == ("failed", "beta", path)
    assert law.text == "beta  make beta, and 1 more"
    assert law.evidence[:2] == (
        f"beta  make beta  ({path})",
        '  the second upgrade() failed: column "note" of relation "alpha" already exists',
    )
    assert "  downgrade() leaves column public.alpha.note behind" in law.evidence
    assert "  downgrade() leaves type public.mood behind" in law.evidence
    assert law.evidence[-2] == "  downgrade() failed: ValueError: no"  # the walk continues behind it


def test_a_database_that_is_dropped_is_no_downgrade_that_failed(tmp_path: Path, database: Server) -> None:
    declared = trees.write(tmp_path, {name: trees.table(name) for name in ("alpha", "beta")})
    asks = tmp_path / "asks"
    told = f"import pathlib\nwith pathlib.Path({str(asks)!r}).open('a') as file: file.write('x')\n"
    change(tmp_path, "alpha", down=f"{told}op.execute('SELECT pg_sleep(600)')")
    tree, endpoint = tree_of(tmp_path, declared), database.endpoint
    with scratch.database(endpoint, tree.spec.name) as place, ThreadPoolExecutor(1) as pool:
        found = pool.submit(reversal_law, tree, endpoint, place)
        while not asks.exists():
            assert not found.done(), found.result()
            time.sleep(0.02)
        database.execute(f'DROP DATABASE "{place.database}" WITH (FORCE)', database="postgres")
        law = found.result()
        assert scratch_databases(database) == []
    assert asks.read_text() == "x"
    assert (law.outcome, law.revision) == ("failed", None)
    assert "downgrade() failed" not in "".join(law.evidence)
    assert "first upgrade()" not in law.text


def test_every_revision_with_another_schema_is_named_when_all_run(tmp_path: Path, database: Server) -> None:
    declared = trees.write(tmp_path, {name: trees.table(name) for name in ("alpha", "beta", "gamma")})
    change(tmp_path, "beta", up="op.alter_column('alpha', 'id', comment='x')", down="pass")
    change(tmp_path, "gamma", up="op.execute('DROP INDEX IF EXISTS i; CREATE INDEX i ON alpha (id)')", down="pass")
    law = tried(tmp_path, database, declared)[REVERSAL]
    assert law.text == "beta  make beta, and 1 more"
    versions = tmp_path / "migrations" / "versions"
    assert law.evidence == (
        f"beta  make beta  ({versions / 'beta.py'})",
        "  downgrade() leaves comment public.alpha.id behind",
        f"gamma  make gamma  ({versions / 'gamma.py'})",
        "  downgrade() leaves index public.i behind",
    )


def test_what_is_not_meant_to_go_back_is_excused(tmp_path: Path, database: Server) -> None:
    declared = trees.write(tmp_path, {name: trees.table(name) for name in ("alpha", "beta", "gamma")})
    change(tmp_path, "beta", down="'''It cannot.'''\nraise NotImplementedError")
    change(tmp_path, "gamma", down="pass", head="# provision: irreversible\n")
    law = tried(tmp_path, database, declared)[REVERSAL]
    assert (law.outcome, law.text) == ("passed", "1 of 3 revisions")
    assert law.evidence == (
        "beta  make beta: not undone, its downgrade() raises (beta.py:10)",
        "gamma  make gamma: not undone, its file says `# provision: irreversible`",
    )


def test_the_revision_that_fails_from_empty_is_named(tmp_path: Path, database: Server) -> None:
    declared = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": "op.drop_table('nowhere')"})
    found = tried(tmp_path, database, declared)
    assert (found[UPGRADE].outcome, found[UPGRADE].revision) == ("failed", "beta")
    assert 'table "nowhere" does not exist' in found[UPGRADE].evidence
    assert found[MODELS].outcome == "not checked"
    assert found[REVERSAL].text.startswith("the first upgrade() of revision beta")


MODELS_TEXT = """
import sqlalchemy as sa
metadata = sa.MetaData()
sa.Table("alpha", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("note", sa.Text))
"""


@pytest.mark.parametrize("differs", [False, True])
def test_models_are_compared_with_the_head(differs: bool, tmp_path: Path, database: Server) -> None:  # noqa: FBT001
    env = MODELS_TEXT + trees.ENV.replace("connection=connection", "connection=connection, target_metadata=metadata")
    declared = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": ""}, env=env)
    if differs:
        up, down = "op.create_index('i', 'alpha', ['id'])", "op.drop_index('i', 'alpha')"
    else:
        up, down = "op.add_column('alpha', sa.Column('note', sa.Text))", "op.drop_column('alpha', 'note')"
    change(tmp_path, "beta", up=up, down=down)
    found = tried(tmp_path, database, declared)
    assert found[REVERSAL].outcome == "passed"
    assert found[MODELS].outcome == ("failed" if differs else "passed")
    assert found[MODELS].evidence == (("+ column alpha.note (TEXT)", "- index i on alpha") if differs else ())


def test_two_heads_break_the_first_law_unless_they_are_wanted(tmp_path: Path, database: Server) -> None:
    declared = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": trees.table("beta")})
    path = tmp_path / "migrations" / "versions" / "other.py"
    text = (path.parent / "beta.py").read_text().replace("beta", "other")
    path.write_text(text)
    found = tried(tmp_path, database, declared)
    assert (found[HEADS].outcome, found[HEADS].text) == ("failed", "2 heads")
    assert found[REVERSAL].outcome == "passed"
    assert tried(tmp_path, database, replace(declared, target="heads"))[HEADS].outcome == "passed"


ELSEWHERE = """
from sqlalchemy import create_engine
engine = create_engine({url!r})
with engine.begin() as connection:
    connection.execute(sa.text("CREATE TABLE hurt (id int)"))
"""


def test_nothing_but_the_scratch_database_is_reached(tmp_path: Path, database: Server) -> None:
    here = database.endpoint
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")})
    (tmp_path / "url.py").write_text(
        "from sqlalchemy.engine import URL\n"
        f"URL = URL.create('postgresql+psycopg2', {here.user!r}, {here.password.reveal()!r}, {here.host!r}, "
        f"{here.port}, {here.database!r})\n"
    )
    # A revision that opens the application's own engine, and an env.py that does not read the URL.
    change(tmp_path, "alpha", up=ELSEWHERE.replace("{url!r}", "__import__('url').URL"))
    found = tried(tmp_path, database, replace(tree, cwd=tmp_path))
    for law in (found[UPGRADE], found[REVERSAL]):
        assert law.outcome == "failed"
        assert "another database" in law.text
    env = trees.ENV.replace('context.config.get_main_option("sqlalchemy.url")', "__import__('url').URL")
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=env)
    found = tried(tmp_path, database, replace(tree, cwd=tmp_path))
    assert "another database" in found[UPGRADE].text


def test_what_all_databases_share_is_not_changed(tmp_path: Path, database: Server) -> None:
    statement = "DO $$ BEGIN CREATE USER laws_role; END $$"
    tree = tree_of(tmp_path, trees.write(tmp_path, {"alpha": f"op.execute({statement!r})"}))
    with (
        scratch.database(database.endpoint, tree.spec.name) as endpoint,
        pytest.raises(StepFailedError, match="changes what all databases of the server share") as caught,
    ):
        run_scratch(tree, endpoint, ("alpha",))
    assert "only the scratch database" in " ".join(caught.value.evidence)
    assert database.execute("SELECT 1 FROM pg_roles WHERE rolname = 'laws_role'") == []


def test_what_is_refused_breaks_no_law(tmp_path: Path, database: Server) -> None:
    declared = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": ""})
    change(tmp_path, "beta", up="op.execute('SELECT 1')", down="op.execute('DROP ROLE IF EXISTS laws_role')")
    found = tried(tmp_path, database, declared)
    assert (found[UPGRADE].outcome, found[REVERSAL].outcome) == ("passed", "not checked")
    assert found[REVERSAL].text == "revision beta  make beta changes what all databases of the server share"
