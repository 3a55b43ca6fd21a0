"""Alembic's own common failures: a sentence, the file and its line, and what to type; a traceback only with ``-v``."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trees

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conftest import Server

pytestmark = pytest.mark.server


def revision(name: str, down: str, more: str = "") -> str:
    return f"revision = {name!r}\ndown_revision = {down}\n{more}def upgrade(): pass\ndef downgrade(): pass\n"


@dataclass(frozen=True)
class Failure:
    """Files that differ from a tree of ``alpha`` and ``beta``, and what is said; ``{here}`` is the directory."""

    said: str
    files: Mapping[str, str] = field(default_factory=dict)
    more: str = ""
    password: str | None = None
    traceback: bool = False
    """Whether ``-v`` has one to show: code of the user was run."""


VERSIONS = "migrations/versions"
URL = 'context.config.get_main_option("sqlalchemy.url")'
WITHOUT = f'#!/bin/sh\nPYTHONPATH={{here}}/without exec {sys.executable} "$@"\n'
ABSENT = "raise ImportError('not here')\n"
FAILURES = {
    "several heads": Failure(
        """
        error: `target: head` is ambiguous: the tree has 2 heads
            beta  make beta  ({here}/migrations/versions/beta.py)
            gamma  ({here}/migrations/versions/gamma.py)
        next: write `target: heads` to apply all of them
              or join them: provision migrate merge {here}/spec.yml -m 'merge' heads
        """,
        {f"{VERSIONS}/gamma.py": revision("gamma", "'alpha'")},
    ),
    "an unknown revision": Failure(
        """
        error: `target: betta` is not a revision of this tree
            {here}/spec.yml:3: target: betta
            did you mean beta  make beta  ({here}/migrations/versions/beta.py)?
        next: write head, heads, base, or a revision's id or the beginning of it
        """,
        more=", target: betta",
    ),
    "a cycle": Failure(
        """
        error: the revisions go round in a circle: alpha → beta → alpha
            {here}/migrations/versions/alpha.py:2
            {here}/migrations/versions/beta.py:5
        next: correct the `down_revision` or `depends_on` of one of these files
        """,
        {f"{VERSIONS}/alpha.py": revision("alpha", "'beta'")},
    ),
    "a revision twice": Failure(
        """
        error: two files are revision beta
            {here}/migrations/versions/beta.py:4
            {here}/migrations/versions/copy.py:1
        next: give one of them an id of its own and correct the `down_revision` of what follows it
        """,
        {f"{VERSIONS}/copy.py": revision("beta", "'alpha'")},
    ),
    "a down_revision that no file has": Failure(
        """
        error: {here}/migrations/versions/gamma.py:2 follows revision nowhere, which no file has
        next: restore the file of revision nowhere
              or correct the id
        """,
        {f"{VERSIONS}/gamma.py": revision("gamma", "'nowhere'")},
    ),
    "no down_revision": Failure(
        """
        error: {here}/migrations/versions/gamma.py:1 is revision gamma, and states no `down_revision`
        next: write the id of the revision that it follows
              or `down_revision = None` if it is the first
        """,
        {f"{VERSIONS}/gamma.py": "revision = 'gamma'\n"},
    ),
    "a syntax error in a revision": Failure(
        """
        error: {here}/migrations/versions/gamma.py:3 is not valid Python: invalid syntax
            def broken(:
        next: correct the file; nothing was migrated
        """,
        {f"{VERSIONS}/gamma.py": revision("gamma", "'beta'", "def broken(:\n")},
    ),
    "a syntax error below a target that is written": Failure(
        """
        error: {here}/migrations/versions/gamma.py:3 is not valid Python: invalid syntax
            def broken(:
        next: correct the file; nothing was migrated
        """,
        {f"{VERSIONS}/gamma.py": revision("gamma", "'beta'", "def broken(:\n")},
        more=", target: head",
    ),
    "a revision without upgrade": Failure(
        """
        error: {here}/migrations/versions/gamma.py has no function `upgrade()`
            nothing was migrated
        next: write it into the file, and run the same command again
        """,
        {f"{VERSIONS}/gamma.py": "revision = 'gamma'\ndown_revision = 'beta'\n"},
        traceback=True,
    ),
    "a revision that imports what is not there": Failure(
        """
        error: a revision file cannot be loaded: ModuleNotFoundError: No module named 'shop'
            at {here}/migrations/versions/gamma.py:3
            nothing was migrated
        next: correct the file
              or set `migrations.python` to the interpreter that has what it imports
        """,
        {f"{VERSIONS}/gamma.py": revision("gamma", "'beta'", "import shop.models\n")},
        traceback=True,
    ),
    "a revision that uses what it has not imported": Failure(
        """
        error: a revision file cannot be loaded: NameError: name 'postgresql' is not defined
            at {here}/migrations/versions/gamma.py:3
            nothing was migrated
        next: add `from sqlalchemy.dialects import postgresql` to the file, and run the same command again
        """,
        {f"{VERSIONS}/gamma.py": revision("gamma", "'beta'", "KIND = postgresql.JSONB\n")},
        traceback=True,
    ),
    "an env.py that imports what is not there": Failure(
        """
        error: env.py failed: ModuleNotFoundError: No module named 'shop'
            at {here}/migrations/env.py:2
            applied now: nothing
        next: set `migrations.python` to the interpreter that has what env.py imports
              or install it for {python}; a module of the project is looked for in `migrations.cwd`, now {here}
        """,
        {"migrations/env.py": "from alembic import context\nimport shop.models\n"},
        traceback=True,
    ),
    "a syntax error in env.py": Failure(
        """
        error: env.py failed: SyntaxError: expected ':' (env.py, line 2)
            at {here}/migrations/env.py:2
            applied now: nothing
        next: correct env.py or what it needs, and run the same command again
        """,
        {"migrations/env.py": "from alembic import context\nif True\n    pass\n"},
        traceback=True,
    ),
    "no driver": Failure(
        """
        error: {here}/python cannot connect: this interpreter has no PostgreSQL driver \
(psycopg2, psycopg, asyncpg or pg8000)
        next: set `migrations.python` to the interpreter that has the project's packages
              or install one there: {here}/python -m pip install psycopg2-binary
        """,
        {"python": WITHOUT, **{f"without/{each}.py": ABSENT for each in ("psycopg2", "psycopg", "asyncpg", "pg8000")}},
        more=", python: ./python",
        traceback=True,
    ),
    "no Alembic": Failure(
        """
        error: {here}/python cannot load Alembic: not here
        next: set `migrations.python` to the interpreter that has the project's packages
              or install them there: {here}/python -m pip install alembic psycopg2-binary
        """,
        {"python": WITHOUT, "without/alembic.py": ABSENT},
        more=", python: ./python",
        traceback=True,
    ),
    "a password that the server refuses": Failure(
        """
        error: the server at {at} refuses the password of 'postgres'
            connection to server at "127.0.0.1", port {port} failed: \
FATAL:  password authentication failed for user "postgres"
        next: correct `server.credentials`; `provision url {here}/spec.yml` shows what is used
        """,
        password="wrong",
    ),
    "a password of env.py's own": Failure(
        """
        error: env.py failed: OperationalError: connection to server at "127.0.0.1", port {port} failed: \
FATAL:  password authentication failed for user "postgres"
            at {here}/migrations/env.py:5
            applied now: nothing
        next: tell env.py the URL; it reads what this line in `migrations` sets: env: {SHOP_URL: '{url}'}
        """,
        {
            "migrations/env.py": trees.ENV.strip().replace(
                URL, f"__import__('os').environ.get('SHOP_URL') or {URL}.replace('postgres:', 'postgres:no')"
            )
        },
        traceback=True,
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_is_said(name: str, tmp_path: Path, database: Server) -> None:
    case = FAILURES[name]
    trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": trees.table("beta")})
    for file, text in case.files.items():
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("{here}", str(tmp_path)))
        path.chmod(0o755)
    given = {"more": case.more, "password": case.password}
    spec, verb = tmp_path / "spec.yml", ("-m", "provision", "apply")
    said, _ = trees.provision_apply(spec, database, "failing", *verb, **given).communicate(timeout=60)
    _, error, lines = said.partition("error: ")
    for name_, value in (("here", tmp_path), ("python", sys.executable), ("port", database.endpoint.port)):
        lines = lines.replace(str(value), f"{{{name_}}}")
    assert error + lines.rstrip() == textwrap.dedent(case.said).strip().replace("{at}", "127.0.0.1:{port}")
    assert "Traceback" not in said
    if case.traceback:
        told, _ = trees.provision_apply(spec, database, "failing", *verb, "-v", **given).communicate(timeout=60)
        assert "Traceback" in told
