"""What an apply makes, and what other users could have put beside it, whatever the umask is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.embedded import an_embedded_environment, an_open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.embedded import Embedded

NOBODY = 65534


@pytest.fixture(scope="module", params=[0o000, 0o022], ids=oct)
def environment(request: pytest.FixtureRequest) -> Iterator[Embedded]:
    before = os.umask(request.param)
    try:
        with an_open_directory() as directory, an_embedded_environment(directory) as made:
            made.migrations("customer").apply()
            yield made
    finally:
        os.umask(before)


def modes(top: Path) -> dict[str, int]:
    """Return the permission bits of all that is below a directory, but what is in the data."""
    found = [top, *(each for each in top.rglob("*") if "data" not in each.relative_to(top).parts[1:-1])]
    return {str(each.relative_to(top)): each.stat().st_mode & 0o777 for each in found if not each.is_symlink()}


def test_nothing_is_writable_by_others_nor_readable_where_it_can_hold_secrets(environment: Embedded) -> None:
    found = modes(environment.directory / ".provision")
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o022} == {}
    assert {
        path: oct(mode) for path, mode in found.items() if mode & 0o077 and ("/data" in path or "log/" in path)
    } == {}
    assert any("cache/revisions" in path for path in found)


@pytest.mark.parametrize("changes", [False, True])
def test_what_is_too_wide_is_narrowed(environment: Embedded, *, changes: bool) -> None:
    home = environment.home
    (home / "secrets").mkdir(exist_ok=True)
    for each in (home.parent, home, home / "secrets", home / "cache"):
        each.chmod(0o777)
    if changes:
        (home / "config" / "postgresql.conf").unlink()
    environment.apply()
    narrowed = [each.stat().st_mode & 0o777 for each in (home.parent, home, home / "secrets", home / "cache")]
    assert narrowed == [0o755, 0o755, 0o700, 0o755]


@pytest.mark.parametrize("verb", ["restart", "apply"])
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_log_that_leads_elsewhere_is_refused_before_the_server_stops(
    environment: Embedded, verb: str, kind: str
) -> None:
    pid, log, victim = environment.pid, environment.home / "log" / "postgresql.log", environment.directory / "victim"
    kept = log.with_name("kept")
    log.rename(kept)
    victim.write_text("a letter\n")
    log.symlink_to(victim) if kind == "symbolic" else log.hardlink_to(victim)
    before = environment.spec.read_text()
    try:
        if verb == "apply":
            environment.server(settings={"max_connections": 33})
        assert f"{log} " in environment.run(verb, code=1).err
        assert environment.pid == pid
        assert "max_connections = 33" not in (environment.home / "config" / "postgresql.conf").read_text()
        assert victim.read_text() == "a letter\n"
    finally:
        kept.replace(log)
        victim.unlink()
        environment.spec.write_text(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("name", ["cache", "cache/superuser", "engine", "config/notes"])
def test_what_another_user_has_put_there_is_refused(environment: Embedded, name: str) -> None:
    path, configuration = environment.home / name, environment.home / "config" / "postgresql.conf"
    was_there, text = path.exists(), configuration.read_text()
    if not was_there:
        path.touch()
    os.chown(path, NOBODY, -1)
    try:
        configuration.write_text(f"{text}# edited\n")
        told = environment.run("apply", code=1).err
        assert f"error: {path} belongs to the user 'nobody'\n" in told
        assert configuration.read_text() != text
    finally:
        os.chown(path, 0, -1) if was_there else path.unlink()
    environment.apply()
    assert configuration.read_text() == text
