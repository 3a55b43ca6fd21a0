"""What writes the variables of a login, and what replaces this process by a program that has them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from provision.errors import ProvisionError, RefusedError, UsageError, as_word
from provision.export import of_program
from provision.system import files, git, tunnel

GITHUB_ENV = "GITHUB_ENV"
OURS = "# Written by `provision env`"
_MODE = 0o600


def write(path: Path, text: str, *, is_json: bool) -> str:
    """Write a file that only its owner can read; return what to say about it, or nothing.

    Raises:
        RefusedError: Git tracks it, or it was not written by this command.
        ProvisionError: it cannot be written.
    """
    place = Path(os.path.abspath(path))  # noqa: PTH100  # Path.resolve() would follow links
    _refuse_others(path, is_json=is_json)
    said = _tracked(place)
    files.write_atomically(place, text if is_json else f"{OURS}: it has a password\n{text}", _MODE)
    if said is None and git.is_ignored(place.parent, place.name) is False:
        return f"Git does not ignore {path}, which has the password: echo {as_word(place.name)} >> .gitignore"
    return said or ""


def _refuse_others(path: Path, *, is_json: bool) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise RefusedError(f"{path} is not a regular file", next_step="name another FILE: -o .env.local")
    found = (files.read_text(path) or "").strip()
    is_ours = is_json and found.startswith("{") and '"PGPASSWORD"' in found
    if found and not is_ours and not found.startswith(OURS):
        raise RefusedError(
            f"{path} was not written by `provision env`; its lines would be lost",
            evidence=[f"it does not begin with {OURS!r}"] if not is_json else [],
            next_step=f"name another FILE, or move it away: mv {as_word(path)} {as_word(path)}.old",
        )


def _tracked(path: Path) -> str | None:
    """Return why Git cannot say whether it tracks a file; None: it does not.

    Raises:
        RefusedError: it does.
    """
    there = next(each for each in path.parents if each.is_dir())
    run = git.Git(there, git.SECONDS)
    try:
        listed = run("ls-files", "--", str(path.relative_to(there)))
    except git.GitError as error:
        is_outside = str(error) == git.OUTSIDE or not any((each / ".git").exists() for each in path.parents)
        return None if is_outside else f"Git cannot say whether it tracks {path}: {error}"
    if not listed.strip():
        return None
    raise RefusedError(
        f"Git tracks {path}, and the password would be in the next commit",
        next_step="name a FILE that Git ignores, or: "
        f"git rm --cached {as_word(path)} && echo {as_word(path.name)} >> .gitignore",
    )


def github_file(environ: Mapping[str, str]) -> Path:
    """Return the file that GitHub reads after the step.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#setting-an-environment-variable

    Raises:
        UsageError: this is no step of a workflow.
    """
    name = environ.get(GITHUB_ENV)
    if not name:
        raise UsageError(
            f"--github is for a step of a GitHub workflow, and {GITHUB_ENV} is not set",
            next_step="provision env -o .env.local",
        )
    return Path(name)


def to_github(given: Mapping[str, str], file: Path) -> None:
    """Append variables to the file that GitHub reads.

    Raises:
        ProvisionError: it cannot be written.
    """
    lines = []
    for key, value in given.items():
        end = f"provision_{secrets.token_hex(16)}"
        lines.append(f"{key}<<{end}\n{value}\n{end}\n")
    with files.explaining(f"{file} cannot be written", file), file.open("a", newline="") as stream:
        stream.write("".join(lines))


def execute(argv: Sequence[str], given: Mapping[str, str]) -> NoReturn:
    """Replace this process by a program: its exit code, and the signals that it gets, are its own.

    A tunnel of this process ends with the program.

    Raises:
        UsageError: there is no such program.
        ProvisionError: it cannot be run.
    """
    environ = of_program(given)
    program = shutil.which(argv[0], path=environ.get("PATH", os.defpath))
    if program is None:
        word = as_word(argv[0])
        if os.path.dirname(argv[0]) and os.path.isfile(argv[0]):  # noqa: PTH120, PTH113  # as a shell takes it
            raise UsageError(f"{argv[0]} is not executable", next_step=f"chmod +x {word}")
        raise UsageError(f"there is no program {argv[0]!r}", next_step=f"command -v {word}")
    sys.stdout.flush()
    sys.stderr.flush()
    tunnel.pass_on()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a program would inherit that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(program, list(argv), environ)  # noqa: S606  # without a shell is what is meant
    except OSError as error:
        raise ProvisionError(
            f"{program} cannot be run", evidence=[str(error)], next_step=f"ls -l {as_word(program)}"
        ) from error
