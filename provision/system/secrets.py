"""Where a password comes from: a file, a program, or our own generator."""

from __future__ import annotations

import codecs
import os
import secrets
from typing import TYPE_CHECKING

from provision.errors import ProvisionError
from provision.model import Secret
from provision.spec.credentials import making
from provision.spec.model import PasswordCommand, PasswordFile, PasswordValue
from provision.system import no_commands, processes
from provision.system.files import read_bytes
from provision.system.owned import check, open_own

if TYPE_CHECKING:
    from pathlib import Path

    from provision.spec.model import PasswordSource

UNREAD = Secret("")
"""Stands for a password that was not read; none is empty."""
_TIMEOUT = 60
_BYTES = 24


def resolve(source: PasswordSource, kept: Path) -> Secret:
    """Return the password; ``kept`` is the file in which a generated one was kept.

    A generated password that is not kept yet is made anew; writing it there is a step of the plan.

    Raises:
        ProvisionError: the file is missing or empty, the program fails or prints nothing.
    """
    if no_commands.leaves_out("the password: it was not read"):
        return UNREAD
    if isinstance(source, PasswordValue):
        return source.value
    if isinstance(source, PasswordFile):
        where = f"the password file {source.path}"
        if (content := read_bytes(source.path)) is None:
            raise ProvisionError(f"{where} does not exist", next_step=making(source.path))
        return _first_line(_decoded(content, where), where)
    if isinstance(source, PasswordCommand):
        where = f"the program {source.argv[0]!r}"
        return _first_line(_decoded(_output(source), where), where)
    return Secret(_kept(kept) or secrets.token_urlsafe(_BYTES))


def _kept(path: Path) -> str | None:
    """Return the password that was generated before, where no other user can have put it there.

    Raises:
        RefusedError: the file, or its directory, is a link or another user's.
    """
    if not os.path.lexists(path):
        return None
    check(path.parent, path.parent.lstat())
    with os.fdopen(open_own(path, os.O_RDONLY, 0o600)) as file:
        return file.read()


def _decoded(content: bytes, where: str) -> str:
    """Return the text without the mark that editors put in front of it; with one it may be UTF-16.

    Raises:
        ProvisionError: it is neither that nor UTF-8.
    """
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProvisionError(f"{where} holds no UTF-8", next_step="save the password as UTF-8") from error


def _first_line(text: str, where: str) -> Secret:
    line = text.split("\n", 1)[0].rstrip("\r")
    if not line:
        raise ProvisionError(
            f"{where} holds no password in its first line", next_step="write it there, alone in a line"
        )
    return Secret(line)


def _output(source: PasswordCommand) -> bytes:
    shown = source.argv[0]  # what follows it may be a secret
    try:
        done = processes.run(
            source.argv,
            cwd=source.cwd,
            capture_output=True,
            timeout=_TIMEOUT,
        )
    except (OSError, processes.TimeoutExpired) as error:
        raise ProvisionError(
            f"the password program {shown!r} cannot be run",
            evidence=[str(error)],
            next_step="run the program of `credentials.password.command` yourself",
        ) from error
    if done.returncode != 0:
        raise ProvisionError(
            f"the password program {shown!r} failed with exit code {done.returncode}",
            evidence=done.stderr.decode(errors="replace").splitlines()[-5:],
            next_step="run the program of `credentials.password.command` yourself",
        )
    return done.stdout
