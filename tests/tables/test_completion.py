"""Words are completed by the real shells: the script is installed as `--install` does, and a TAB is pressed."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import program

from provision.shell import revisions, specs
from provision.shell.install import place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.program import Ran

ROOT = Path(__file__).parent.parent.parent
SPEC = """\
name: shop
server: {image: 'postgres:17', credentials: {password: "${UNSET_SECRET}"}}
roles: {app: {login: true}, auditor: {}}
databases: {shop: {owner: app}}
migrations: {script_location: migrations}
"""
BEGIN = "<<<"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "specs").mkdir()
    (tmp_path / "provision.yml").write_text(SPEC)
    (tmp_path / "specs" / "dev.yml").write_text(SPEC.replace("migrations}", "../migrations}"))
    (tmp_path / "specs" / "compose.yml").write_text("services: {db: {image: 'postgres:17'}}\n")
    (tmp_path / "migrations").symlink_to(ROOT / "migrations")
    (tmp_path / "bin").mkdir()
    start = tmp_path / "bin" / "provision"
    start.write_text(f'#!/bin/sh\nexec {sys.executable} -m provision "$@"\n')
    start.chmod(0o755)
    return tmp_path


def environ(project: Path) -> dict[str, str]:
    """Return the variables of a user with nothing in the home directory."""
    path = f"{project / 'bin'}:{os.environ['PATH']}"
    return {"HOME": str(project / "home"), "PATH": path, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "TERM": "dumb"}


def install(project: Path, shell: str) -> Ran:
    (project / "home").mkdir(exist_ok=True)
    return program.run("completion", shell, "--install", cwd=project, environ=environ(project))


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"there is no {shell} on this machine")


def bash(project: Path, line: str) -> list[str]:
    """Return what bash would complete the last word of a line to."""
    script = """
        source "$1"
        COMP_LINE=$2 COMP_POINT=${#2}
        read -ra COMP_WORDS <<< "$2"
        [[ $2 == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        compopt() { echo "compopt $*"; }
        $(complete -p provision | sed 's/.*-F \\([^ ]*\\) .*/\\1/') provision "${COMP_WORDS[-1]}" ""
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    file, _ = place("bash", environ(project))
    argv = ("bash", "--norc", "-c", script, "bash", str(file), line)
    done = subprocess.run(argv, cwd=project, env=environ(project), capture_output=True, text=True, check=True)
    return done.stdout.split()


def fish(project: Path, line: str) -> list[str]:
    argv = ("fish", "-c", "complete -C $argv[1]", line)
    done = subprocess.run(argv, cwd=project, env=environ(project), capture_output=True, text=True, check=True)
    return [each.partition("\t")[0] for each in done.stdout.splitlines()]


def zsh(project: Path, line: str) -> list[str]:
    """Return what zsh lists below the line on a terminal, after two TABs."""
    (project / "home" / ".zshrc").write_text(
        f"fpath+=({project}/home/.zfunc); autoload -Uz compinit && compinit -u\n"
        f"PS1='{BEGIN}' LISTMAX=500; zstyle ':completion:*' list-grouped false\n"
        "bindkey '^I' list-choices; unsetopt zle_bracketed_paste prompt_cr prompt_sp\n"
    )
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(project)
        os.execvpe("zsh", ("zsh", "-i"), {**environ(project), "COLUMNS": "200", "LINES": "200"})  # noqa: S606
    try:
        until(terminal, re.escape(BEGIN))
        os.write(terminal, f"{line}\t".encode())
        shown = until(terminal, rf"{re.escape(line)}.*\n.*")
        os.write(terminal, b"\x03exit\n")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown).partition(line)[2]
    listed = [each for each in plain.splitlines() if BEGIN not in each]
    return [word for each in listed for word in each.partition(" -- ")[0].split()]


def until(terminal: int, expected: str, quiet: float = 0.7) -> str:
    """Return what the terminal shows, when it has what is expected and nothing more comes for a while."""
    shown, deadline = "", time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], quiet)[0]:
            shown += os.read(terminal, 1 << 16).decode(errors="replace")
        elif re.search(expected, shown, re.DOTALL):
            return shown
    raise AssertionError(shown)


SHELLS = [pytest.param(each, marks=needs(each.__name__), id=each.__name__) for each in (bash, fish, zsh)]
LINES: Mapping[str, list[str]] = {
    "provision sta": ["start", "status"],
    "provision migrate upg": ["upgrade"],
    "provision apply --no-r": ["--no-restart"],
    "provision apply ": ["provision.yml", "specs/dev.yml"],
    "provision migrate upgrade 000": ["0001", "0002", "0003", "0004", "0005", "0006"],
    "provision migrate downgrade specs/dev.yml b": ["base"],
    "provision url --role ": ["app"],
    "provision psql --database sh": ["shop"],
}


@pytest.mark.parametrize("complete", SHELLS)
def test_a_shell_completes_words(project: Path, complete) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    shell = complete.__name__
    first = install(project, shell)
    assert first.code == 0
    file, _ = place(shell, environ(project))
    assert f"{file}: written" in first.out
    assert file.is_relative_to(project / "home")
    again = install(project, shell)
    assert "nothing to do" in again.all
    for line, words in list(LINES.items())[:: 2 if shell == "zsh" else 1]:  # which is started again for each
        found = complete(project, line)
        assert sorted(found) == words, line


def test_the_script_of_a_shell_is_printed(project: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_PROVISION_COMPLETE" in program.run("completion", shell, cwd=project, environ=environ(project)).out
    assert program.run("completion", "tcsh", cwd=project, environ=environ(project)).code == 64


def test_only_specs_are_offered(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (project / "broken.yml").write_bytes(b"\xff\xfe name: [")
    (project / "values.yaml").write_text("name: x\nreplicas: 3\n")
    (project / "more.yaml").write_text("# a comment\nextends: provision.yml\n")
    os.mkfifo(project / "pipe.yml")
    assert [each.text for each in specs("")] == ["more.yaml", "provision.yml", "specs/dev.yml"]
    assert [each.text for each in specs("specs/")] == ["specs/dev.yml"]
    assert [each.text for each in specs("./sp")] == ["./specs/dev.yml"]
    assert [each.text for each in specs("nowhere/x")] == []


def test_revisions_are_the_newest_first_and_nothing_is_run(project: Path) -> None:
    found = [each.text for each in revisions(project / "provision.yml", {})]
    assert found == ["head", "heads", "base", "0006", "0005", "0004", "0003", "0002", "0001"]
