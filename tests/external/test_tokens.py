"""A token as a password: what a server refuses in the middle of a run is asked for again, and only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.environment import Environment
    from support.foreign import Foreign

_PROGRAM = """#!/bin/sh
echo asked >> calls
[ -e token ] || { echo 'no identity' >&2; exit 3; }
cat token
"""
_EXPIRES = """
    import pathlib
    place = pathlib.Path({directory!r})
    op.execute("ALTER ROLE {user} PASSWORD '{new}'")
    (place / 'token').write_text('{new}')
"""


class Issuer:
    """A program that prints the token of the moment, and the role that logs in with it."""

    def __init__(self, server: Foreign, environment: Environment) -> None:
        self.server, self.environment, self.place = server, environment, environment.directory
        self.user = server.role("CREATEDB CREATEROLE")
        (self.place / "token.sh").write_text(_PROGRAM)
        (self.place / "token.sh").chmod(0o755)
        server.declare(environment, credentials={"user": self.user, "password": {"command": ["./token.sh"]}})
        self.issues("first")

    def issues(self, token: str, *, accepted: bool = True) -> None:
        """Have another token from now on; the server takes only that one, if any."""
        (self.place / "token").write_text(token)
        if accepted:
            self.server.execute(f"ALTER ROLE {self.user} PASSWORD '{token}'")

    def expires_in(self, revision: str, new: str) -> None:
        """Have the token of the run expire in a revision."""
        file = next(self.place.glob(f"*/versions/{revision}.py"))
        body = _EXPIRES.format(directory=str(self.place), user=self.user, new=new)
        file.write_text(file.read_text().replace("def upgrade():", f"def upgrade():\n{body}\n"))

    def calls(self) -> int:
        """Return how often the program was asked since this was asked last."""
        file = self.place / "calls"
        found = file.read_text().count("asked") if file.exists() else 0
        file.unlink(missing_ok=True)
        return found


@pytest.fixture
def issuer(foreign: Foreign, environment: Environment) -> Issuer:
    return Issuer(foreign, environment)


def test_a_token_that_expires_in_a_migration(issuer: Issuer) -> None:
    issuer.environment.migrations("customers", "orders")
    issuer.expires_in("r1", "second")
    issuer.environment.apply()
    assert issuer.calls() == 2, "one for the first login, and one after the refusal"
    issuer.environment.settled()
    assert issuer.calls() == 1


def test_a_token_that_expires_between_two_trees(issuer: Issuer) -> None:
    environment = issuer.environment.migrations("customers", "orders")
    (issuer.place / "migrations").rename(issuer.place / "first")
    environment.migrations("lines")
    trees = [
        {"name": "first", "script_location": "./first", "version_table": "version_of_first"},
        {"name": "second", "script_location": "./migrations"},
    ]
    issuer.expires_in("r2", "second")
    environment.declare(migrations=None).declare(migrations=trees, seeds=[{"sql": "seed.sql", "run": "once"}])
    (issuer.place / "seed.sql").write_text("INSERT INTO lines (name) VALUES ('one');")
    environment.run("apply", "--seed")
    assert issuer.calls() == 2
    assert environment.query("SELECT name FROM lines") == [("one",)]


def test_a_token_that_is_refused_again_is_not_asked_for_for_ever(issuer: Issuer) -> None:
    issuer.environment.migrations("customers")
    issuer.issues("of-another", accepted=False)
    refused = issuer.environment.run("apply", code=69)
    assert f"refuses the password of '{issuer.user}'" in refused.err
    assert "of-another" not in refused.all
    assert issuer.calls() == 2


def test_a_program_that_fails_in_the_middle_says_so(issuer: Issuer) -> None:
    issuer.environment.migrations("customers")
    issuer.expires_in("r1", "second")
    file = issuer.place / "migrations" / "versions" / "r1.py"
    file.write_text(file.read_text().replace("(place / 'token').write_text('second')", "(place / 'token').unlink()"))
    failed = issuer.environment.run("apply", code=1)
    assert "the password program './token.sh' failed with exit code 3" in failed.err
    assert "no identity" in failed.err
    issuer.issues("third")
    issuer.environment.apply()
