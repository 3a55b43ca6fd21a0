"""The password is in the secret file and in the server, and nowhere else."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

SECRET = "s3cr3t-Wörd'$\\%:"


def spellings(secret: str) -> list[bytes]:
    """Return the ways in which a text may be written: as it is, in JSON, in a URL, in SQL, in YAML and a shell."""
    texts = {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
        quote(secret),
        secret.replace("'", "''"),
        secret.replace("'", "''").replace("\\", "\\\\"),
        secret.replace("$", "$$"),
        secret.replace("%", "%%"),
        secret[:8],
    }
    return [text.encode() for text in texts]


@contextmanager
def every_command_line() -> Iterator[set[bytes]]:
    """Collect the command line and the environment of every process that can be seen while the block runs."""
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.002):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def holding(secret: str, texts: dict[str, bytes]) -> list[str]:
    """Return the names of the texts that hold a secret in any spelling."""
    return [name for name, text in texts.items() if any(each in text for each in spellings(secret))]


def test_the_password_is_nowhere_to_be_seen(environment: Environment) -> None:
    environment.environ["PW"] = SECRET
    environment.migrations("userdata")
    environment.server(credentials={"user": "owner"}, settings={"log_statement": "all", "log_min_messages": "debug1"})
    told: dict[str, bytes] = {}

    def tell(*words: str, code: int | None = 0, **environ: str) -> None:
        told[f"output of {' '.join(words)} ({len(told)})"] = environment.run(*words, code=code, **environ).all.encode()

    with every_command_line() as lines:
        tell("plan", "--diff", "-v")
        tell("plan", "--diff", "--json")
        tell("apply", "--diff", "-v")
        tell("apply", "--json")
        tell("status", "-v")
        tell("status", "--json")
        tell("validate", "--json")
        # Another password: its change goes through the server's log, and the old one is in what libpq complains of.
        environment.environ["PW"] = SECRET + "2"
        tell("plan", "-v", "--diff")
        tell("plan", "--json", "--diff")
        tell("apply", "-v")
        environment.environ["PW"] = SECRET
        tell("apply", "--json")
        tell("psql", "--", "-c", "SELECT 1", code=None)
        tell("psql", code=None)
        tell("logs")
        # Errors of every layer: the spec, the engine, the server, a migration.
        tell("apply", "-v", code=69, DOCKER_HOST="unix:///nowhere")
        environment.server(settings={"work_mem": "12 bananas"})
        tell("apply", "-v", code=65)
        environment.server(settings={"work_mem": None, "shared_buffers": "400GB"})
        tell("apply", "-v", code=1)
        environment.server(settings={"shared_buffers": None}).apply()
        bad = environment.directory / "migrations" / "versions" / "r2.py"
        bad.write_text("revision = 'r2'\ndown_revision = 'r1'\ndef upgrade():\n    from alembic import context\n"
                       "    raise RuntimeError(context.config.get_main_option('sqlalchemy.url'))\n")  # fmt: skip
        tell("apply", "-v", code=1)
        bad.unlink()
    told |= {f"command line {line!r}": line for line in lines}
    told["inspect"] = json.dumps(environment.container, ensure_ascii=False).encode()
    told["server log"] = "\n".join(environment.log()).encode()
    told["container's processes"] = environment.engine.run(
        environment.name, "sh", "-c", "cat /proc/[0-9]*/cmdline"
    ).encode()
    state = Path(environment.environ["XDG_STATE_HOME"])
    for path in (*environment.directory.rglob("*"), *state.rglob("*")):
        if path.is_file():
            told[str(path.relative_to(environment.directory.parent))] = path.read_bytes()

    secret = f"project/.provision/{environment.name}/secrets/postgres_password"
    assert holding(SECRET, told) == [secret]
    assert told[secret] == SECRET.encode()
    assert (environment.home / "secrets" / "postgres_password").stat().st_mode & 0o777 == 0o600
    assert len(lines) > 10


def test_the_server_has_no_password_in_its_environment(environment: Environment) -> None:
    """The image's entrypoint exports it, and SQL reads the environment of a process of the server's own user."""
    environment.environ["PW"] = SECRET
    environment.apply()
    _without_the_password(environment)
    environment.engine.client.restart(environment.name)
    environment.apply()
    _without_the_password(environment)
    made = environment.container["Id"]
    environment.server(stop_timeout="7s").apply()
    assert environment.container["Id"] != made
    _without_the_password(environment)


def _without_the_password(environment: Environment) -> None:
    seen = {
        "the environment": environment.engine.run(environment.name, "cat", "/proc/1/environ", user="postgres").encode(),
        "the environment, by SQL": bytes(environment.query("SELECT pg_read_binary_file('/proc/1/environ')")[0][0]),
        "the files that the server's user reads": environment.engine.run(
            environment.name, "sh", "-c", "cat /run/secrets/* /etc/postgresql/* 2>&1; true", user="postgres"
        ).encode(),
    }
    assert holding(SECRET, seen) == []
    assert all(b"PGDATA=" in text and b"POSTGRES_PASSWORD" not in text for text in list(seen.values())[:2])
    assert environment.query("SELECT usename FROM pg_user") == [("postgres",)], "the image did not set the password"


def test_only_url_prints_it(environment: Environment) -> None:
    environment.environ["PW"] = SECRET
    environment.apply()
    assert quote(SECRET, safe="") in environment.run("url").out


def test_a_wrong_mode_is_put_right(environment: Environment) -> None:
    environment.apply()
    path = environment.home / "secrets" / "postgres_password"
    path.chmod(0o644)
    assert "mode: 644 → 600" in environment.run("plan").out
    environment.apply()
    assert path.stat().st_mode & 0o777 == 0o600
    environment.settled()


@pytest.mark.parametrize("source", [{"file": "./pw"}, {"command": ["cat", "pw"]}, {"generate": True}])
def test_a_password_from_elsewhere(environment: Environment, source: dict[str, object]) -> None:
    (environment.directory / "pw").write_text(f"{SECRET}\n")
    environment.server(credentials={"password": source}).apply()
    environment.query("SELECT 1")
    environment.settled()
