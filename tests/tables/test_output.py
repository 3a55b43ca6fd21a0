"""What the output of a program tells of its failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provision.alembic.running.command import ProgramFailure, read_output
from provision.alembic.tree.graph import Graph

if TYPE_CHECKING:
    from pathlib import Path

LOG = "INFO  [alembic.runtime.migration] Running upgrade alpha -> beta, add a column\n"
TRACE = 'Traceback (most recent call last):\n  File "{here}/beta.py", line 9, in upgrade\n    op.execute()\n'
ERROR = """sqlalchemy.exc.ProgrammingError: (psycopg2.errors.UndefinedTable) relation "nowhere" does not exist
LINE 1: ALTER TABLE nowhere
                    ^

[SQL: ALTER TABLE nowhere
   ADD x int]
(Background on this error at: https://sqlalche.me/e/20/f405)
"""
STATEMENT, MESSAGE = "ALTER TABLE nowhere ADD x int", 'relation "nowhere" does not exist'
OUTPUTS = {
    "nothing": ("", ProgramFailure()),
    "the whole": (LOG + TRACE + ERROR, ProgramFailure("beta", "{here}/beta.py:9", STATEMENT, MESSAGE)),
    "a log alone": (LOG + "failed\n", ProgramFailure("beta")),
    "a traceback alone": (TRACE + "KeyError: 'x'\n", ProgramFailure("beta", "{here}/beta.py:9", None, "KeyError: 'x'")),
    "a revision that is applied": (LOG.replace("alpha -> beta", " -> alpha"), ProgramFailure()),
    "a revision of another tree": (LOG.replace("beta,", "other,"), ProgramFailure()),
    "a merge": (LOG.replace("alpha -> beta", "alpha, x -> beta"), ProgramFailure("beta")),
    "what passes": ("FATAL:  the database system is starting up\n", ProgramFailure(passes=True)),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_an_output_tells(name: str, tmp_path: Path) -> None:
    text, told = OUTPUTS[name]
    sources = {
        tmp_path / "alpha.py": b"revision = 'alpha'\ndown_revision = None\n",
        tmp_path / "beta.py": b"revision = 'beta'\ndown_revision = 'alpha'\n",
    }
    place = told.place and told.place.format(here=tmp_path)
    found = read_output(text.replace("{here}", str(tmp_path)), Graph.of(sources), {"alpha"})
    assert found == ProgramFailure(told.revision, place, told.statement, told.message, told.passes)
