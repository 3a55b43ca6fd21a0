"""Which words of a script name a file, or run a program, for psql."""

from __future__ import annotations

import re

import pytest

from provision.system.psql import _FILES, _given

NAMING = (
    r"\i a.sql", r"  \ir a.sql", r"SELECT 1; \o out", r"\g out", r"\gx (format=aligned) out", r"\g |cat",
    r"\copy t to x.csv",
    r"\COPY t TO 'x.csv' csv header", r"\copy t from program 'cat x'", r"\copy t to pstdout", r"\! ls", r"\lo_import a",
    r"\w q.sql", r"\s hist", r"\cd /tmp", r"\set x `cat f`", r"\copy (select 1) to 'from stdin'",
)  # fmt: skip
PLAIN = (
    r"\copy t from stdin", r"\copy (select 1) to STDOUT csv", r"\g", r"\gx", r"\gset a_", r"\o", r"\d canary", r"\dt",
    r"\if true", r"\pset format csv", r"C:\i", r"1	\\i x	\N", r"\.", r"a\tb", r"\gdesc", r"\gexec", r"SELECT 'a'",
)  # fmt: skip


@pytest.mark.parametrize("line", NAMING)
def test_it_names_a_file(line: str) -> None:
    assert re.search(_FILES, line.encode())


@pytest.mark.parametrize("line", PLAIN)
def test_it_names_none(line: str) -> None:
    assert not re.search(_FILES, line.encode())


@pytest.mark.parametrize(
    ("arguments", "rest", "scripts", "output", "acts"),
    [
        (("-Atqc", "SELECT 1"), ("-A", "-t", "-q", "-c", "SELECT 1"), (), None, True),
        (("-Xf", "a.sql"), ("-X", "--file=-"), ("a.sql",), None, True),
        (("--file=a.sql", "--out=b"), ("--file=-",), ("a.sql",), "b", True),
        (("-f", "-"), ("--file=-",), (), None, False),
        (("-v", "a=b", "other"), ("-v", "a=b", "other"), (), None, False),
        (("--set", "a=", "-ob", "-oc", "-l"), ("--set=a=", "-l"), (), "c", True),
        (("--unknown",), ("--unknown",), (), None, True),
    ],
)
def test_arguments(arguments: tuple[str, ...], rest: object, scripts: object, output: object, acts: object) -> None:
    found = _given(arguments)
    assert (found.rest, found.scripts, found.output, found.acts) == (rest, scripts, output, acts)
