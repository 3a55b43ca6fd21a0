"""A project with a compose file: `init` takes over what it says, and the first apply makes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.environment import Environment

FILES = {
    "docker-compose.yml": """
services:
  db:
    image: postgres:17
    command: ["-c", "config_file=/etc/postgresql/postgresql.conf"]
    environment: {POSTGRES_USER: baker, POSTGRES_DB: bakery, POSTGRES_PASSWORD_FILE: /run/secrets/db-password}
    secrets: [{source: bakery-password, target: db-password}]
    volumes:
      - bakery:/var/lib/postgresql/data
      - ./postgres/postgresql.conf:/etc/postgresql/postgresql.conf:ro
      - ./postgres/initdb:/docker-entrypoint-initdb.d:ro
secrets:
  bakery-password: {file: ./secrets/db.txt}
volumes: {bakery: }
""",
    "secrets/db.txt": "a-long-word\n",
    "postgres/postgresql.conf": """
listen_addresses = '*'
max_connections = 140\t\t\t# (change requires restart)
shared_preload_libraries = 'pg_stat_statements'
""",
    "postgres/initdb/01-extensions.sql": "CREATE EXTENSION pg_stat_statements;\n",
    "postgres/initdb/02-role.sh": 'psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "CREATE ROLE reader"\n',
}


def test_settings_scripts_and_secrets_of_a_compose_file_are_there_after_the_first_apply(
    environment: Environment,
) -> None:
    for name, text in FILES.items():
        (environment.directory / name).parent.mkdir(parents=True, exist_ok=True)
        (environment.directory / name).write_text(text)
    environment.migrations("loaves")
    environment.spec.unlink()
    environment.spec = environment.directory / "provision.yml"
    said = environment.run("init", "--name", environment.name, "--port", "auto", spec=False).out
    assert "not taken: `listen_addresses`" in said
    assert "to use the data of db, write `data: {volume:" in said
    environment.apply()
    environment.settled()
    assert environment.query("SELECT current_user, current_database(), current_setting('max_connections')") == [
        ("baker", "bakery", "140")
    ]
    found = environment.query(
        "SELECT extname FROM pg_extension UNION SELECT rolname FROM pg_roles WHERE rolname = 'reader'"
    )
    assert {name for (name,) in found} >= {"pg_stat_statements", "reader"}
    assert environment.query("SELECT count(*) FROM loaves") == [(0,)]


def test_the_directory_of_a_compose_project_is_taken_over(environment: Environment) -> None:
    """Another container ran on it last, so `runtime: auto` does not take it for a server of this machine."""
    client, path = environment.engine.client, environment.directory / "postgresql" / "db"
    path.mkdir(parents=True)
    made = client.create_container(
        "postgres:17",
        environment={"POSTGRES_PASSWORD": "1234", "POSTGRES_DB": "pantry"},
        name=f"{environment.name}-of-compose",
        volumes=["/var/lib/postgresql/data"],
        host_config=client.create_host_config(binds=[f"{path}:/var/lib/postgresql/data"]),
    )
    client.start(made["Id"])
    query = ("psql", "-h", "127.0.0.1", "-U", "postgres", "-d", "pantry", "-c", "CREATE TABLE mine AS SELECT 7 AS x")
    deadline = time.monotonic() + 60
    while "SELECT 1" not in environment.engine.run(made["Id"], "env", "PGPASSWORD=1234", *query):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    client.stop(made["Id"])
    client.remove_container(made["Id"])
    environment.server(data={"path": "./postgresql/db"}, database="pantry", runtime=None).apply()
    assert environment.query("SELECT x FROM mine") == [(7,)]
    environment.settled()
