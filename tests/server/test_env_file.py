"""The `.env` beside a spec, from the first plan to a server that it opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.embedded import Embedded

VALUE = "s3cr#t $p@ss"


def test_a_password_of_the_file_beside_the_spec(environment: Embedded) -> None:
    (environment.directory / ".env").write_text(f"# of the team\nexport TEAM_PASSWORD='{VALUE}'\n")
    environment.server(credentials={"password": "${TEAM_PASSWORD}"})
    planned = environment.run("plan", "-v").all
    assert planned.count("from .env: TEAM_PASSWORD") == 1
    assert "from .env" not in environment.run("plan").all
    environment.apply()
    assert environment.query("SELECT 1") == [(1,)]
    assert "from .env: TEAM_PASSWORD" in environment.run("plan", "-v").all
    assert VALUE not in planned
    environment.environ["TEAM_PASSWORD"] = "of the shell"
    environment.apply()
    assert environment.query("SELECT 1") == [(1,)]
    assert "of%20the%20shell" in environment.url
