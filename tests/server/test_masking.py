"""What a variable put into a value is seen nowhere, whatever its key is called; the words around it are."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.embedded import Embedded

TOKEN = "t0k3n/of ä 'service'"
GIVEN = {"SIDECAR": "${CASE_TOKEN}", "BOTH": "http://x.invalid/?t=${CASE_TOKEN}&n=1", "OPEN": "{password}"}
ENV = """
import os, sys
print("printed", os.environ["SIDECAR"], file=sys.stderr)
raise RuntimeError(f"sidecar is {os.environ['SIDECAR']}, both {os.environ['BOTH']}, open {os.environ['OPEN']}")
"""
REVISION = """
import os
from alembic import op
revision = "0001"
down_revision = None
def upgrade():
    op.execute("CREATE TABLE kept (id int)")
    op.execute("COMMENT ON TABLE kept IS '" + os.environ["SIDECAR"].replace("'", "''") + "'")
def downgrade():
    op.execute("DROP TABLE kept")
"""


@pytest.fixture
def project(environment: Embedded) -> Embedded:
    """An environment whose env.py and revision show what they are given."""
    environment.environ["CASE_TOKEN"] = TOKEN
    versions = environment.directory / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_text(textwrap.dedent(ENV))
    (versions / "0001.py").write_text(textwrap.dedent(REVISION))
    environment.declare(migrations={"script_location": "migrations", "env": GIVEN})
    return environment


def test_a_secret_under_a_plain_key_is_seen_nowhere(project: Embedded) -> None:
    verbs = ("plan --sql", "apply -v", "apply --json", "migrate sql", "migrate test", "migrate sql --json")
    said = {verb: project.run(*verb.split(), code=None).all for verb in verbs}
    for verb, text in said.items():
        assert TOKEN not in text, verb
        assert "of ä" not in text, verb
        assert project.environ["PW"] not in text, verb
    assert "sidecar is ********, both http://x.invalid/?t=********&n=1, open ********" in said["apply -v"]
    assert "sidecar is ********" in said["apply --json"]
    assert "the value of a variable" in said["migrate sql"]


def test_what_a_program_prints_has_it_masked(project: Embedded) -> None:
    program = project.directory / "migrate.sh"
    program.write_text('#!/bin/sh\necho "token $SIDECAR, argument $1, open $OPEN"\nexit 3\n')
    program.chmod(0o755)
    tree = {"script_location": "migrations", "env": GIVEN, "command": [str(program), "a=${CASE_TOKEN}"]}
    project.declare(migrations=tree)
    said = project.run("apply", code=1).all
    assert "token ********, argument a=********, open ********" in said
    state = Path(project.environ["XDG_STATE_HOME"])
    assert not [path for path in state.rglob("*") if path.is_file() and TOKEN in path.read_text()]
