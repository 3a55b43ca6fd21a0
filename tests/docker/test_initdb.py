"""The scripts of a first initialisation: those of the spec and of the image, on the declared database."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

_CITEXT = r"""FROM postgres:17
RUN printf '%s\n' 'psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "CREATE EXTENSION citext"' \
  > /docker-entrypoint-initdb.d/10-citext.sh
"""


@pytest.fixture
def with_scripts(environment: Environment) -> Environment:
    scripts = environment.directory / "initdb"
    scripts.mkdir()
    (scripts / "01-table.sql").write_text("CREATE EXTENSION pg_trgm; CREATE TABLE readings (name text);\n")
    (scripts / "02-role.sh").write_text(
        'psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "CREATE ROLE reader; GRANT SELECT ON readings TO reader"\n'
    )
    (environment.directory / "rows.sql.gz").write_bytes(gzip.compress(b"INSERT INTO readings VALUES ('one');\n"))
    return environment.server(database="my-app", initdb=["initdb", "rows.sql.gz"])


@pytest.fixture
def image(environment: Environment) -> Iterator[str]:
    client, tag = environment.engine.client, f"{environment.name}/postgres:17"
    assert any(
        "Successfully" in str(each) for each in client.build(fileobj=io.BytesIO(_CITEXT.encode()), tag=tag, rm=True)
    )
    yield tag
    environment.engine.remove_all(environment.name)
    client.remove_image(tag, force=True)


def test_they_run_once_on_the_declared_database(with_scripts: Environment) -> None:
    """Afterwards they may change or go away: the container starts without them, and is not made again."""
    done = with_scripts.apply()
    assert "database/my-app" in done.out
    assert with_scripts.query("SELECT name FROM readings") == [("one",)]
    assert with_scripts.query("SELECT has_table_privilege('reader', 'readings', 'SELECT')") == [(True,)]
    with_scripts.settled()
    before = with_scripts.container["Id"]
    (with_scripts.directory / "initdb" / "01-table.sql").unlink()
    with_scripts.server(initdb=["initdb"]).apply()
    with_scripts.run("restart")
    assert with_scripts.container["Id"] == before
    assert with_scripts.query("SELECT name FROM readings") == [("one",)]
    with_scripts.settled()


def test_a_script_that_fails_is_never_taken_for_done(with_scripts: Environment) -> None:
    script = with_scripts.directory / "initdb" / "01-table.sql"
    right = script.read_text()
    script.write_text("CREATE TABEL readings (name text);\n")
    failed = with_scripts.run("apply", code=1).err
    assert "01-table.sql:1: ERROR:" in failed
    assert "provision destroy --data spec.yml && provision apply spec.yml" in failed
    script.write_text(right)
    again = with_scripts.run("apply", code=1).err
    assert "did not finish, so the data is incomplete" in again
    assert "provision destroy --data spec.yml && provision apply spec.yml" in again
    with_scripts.run("destroy", "--data", "--yes")
    with_scripts.apply()
    with_scripts.settled()


def test_the_scripts_of_an_image_work_on_the_declared_database(environment: Environment, image: str) -> None:
    environment.server(image=image, database="app").apply()
    assert environment.query(
        "SELECT current_database(), count(*) FROM pg_extension WHERE extname = 'citext' GROUP BY 1"
    ) == [("app", 1)]
    environment.settled()


@pytest.mark.parametrize("has_it", [True, False], ids=["named", "not named"])
def test_a_container_is_not_made_again_for_the_database_that_it_was_made_with(
    environment: Environment, *, has_it: bool
) -> None:
    """It matters at the initialisation only, so containers of earlier versions and other databases stay."""
    environment.server(database="app").apply()
    composed = (environment.home / "docker-compose.yml").read_text()
    assert 'POSTGRES_DB: "app"' in composed
    environment.directory.joinpath("templates").mkdir()
    own = environment.directory / "templates" / "docker-compose.yml.j2"
    from provision.observe.outside import shipped

    template = (shipped() / "docker-compose.yml.j2").read_text()
    line = "      POSTGRES_DB: {{ server.database | quote }}\n"
    own.write_text(template.replace(line, line.replace("{{ server.database | quote }}", "other") if has_it else ""))
    before = environment.container["Id"]
    environment.declare(templates="./templates").apply()
    environment.server(database="later").apply()
    assert environment.container["Id"] == before
    assert environment.query("SELECT current_database()") == [("later",)]
    environment.settled()
