"""The password of a spec, fetched when something needs it: from a file, a program, or our own generator."""

from __future__ import annotations

import codecs
import os
import time
from collections.abc import Mapping
from pathlib import Path

from provision.errors import ProvisionError, SpecError, command, translated
from provision.model import UNREAD, Secret
from provision.spec.access import NoPassword
from provision.spec.credentials import making
from provision.spec.model import Spec
from provision.spec.passwords import (
    PasswordCommand,
    PasswordFile,
    PasswordGenerated,
    PasswordMissing,
    PasswordSource,
    PasswordValue,
)
from provision.system import no_commands
from provision.system.files import read_bytes
from provision.system.owned import check, open_own

_TIMEOUT = 60
_PATIENCE = 10.0
"""How long a source is not asked again that gave what was refused already."""
_BYTES = 24


def of(spec: Spec) -> Secret:
    """Return the password of a spec; all that works on one loaded spec shares it, and so fetches it once."""
    if no_commands.leaves_out("the password: it was not read"):
        return UNREAD
    return spec.fetched.setdefault("password", Password(spec.server.password, spec.password_file))


def of_roles(spec: Spec) -> Mapping[str, Secret]:
    """Return the passwords of the declared roles; one for which the spec has no source is the generated one."""
    return {name: of_role(spec, name) for name in spec.roles}


def of_role(spec: Spec, name: str) -> Secret:
    """Return the password of one declared role, shared as by :func:`of`."""
    if no_commands.is_on():
        return UNREAD
    source = spec.roles[name].password
    if source is None or isinstance(source, NoPassword):
        source = PasswordGenerated()
    made = Password(source, spec.role_password_file(name), f"roles.{name}.password")
    return spec.fetched.setdefault(f"role {name}", made)


def is_known(spec: Spec, name: str) -> bool:
    """Tell whether the spec says where the password of a role is, or the one that was generated is kept."""
    source = spec.roles[name].password
    if source is None or isinstance(source, PasswordGenerated):
        return _kept(spec.role_password_file(name)) is not None
    return not isinstance(source, NoPassword)


def skip_roles(spec: Spec) -> list[ProvisionError]:
    """Go on without the passwords of roles that only a program tells, or that cannot be fetched; return why not."""
    errors = []
    for name, role in spec.roles.items():
        if not isinstance(role.password, PasswordCommand):
            try:
                of_role(spec, name).reveal()
                continue
            except ProvisionError as error:
                errors.append(error)
        spec.fetched[f"role {name}"] = UNREAD
    return errors


def not_known(spec: Spec, name: str) -> ProvisionError:
    """Return the error for a role that cannot log in because no password of it :func:`is_known`."""
    if isinstance(spec.roles[name].password, NoPassword):
        return ProvisionError(
            f"the role {name!r} has no password to log in with",
            evidence=[f"`roles.{name}` has `password: none`"],
            next_step=f"write another `roles.{name}.password`, then: " + command("apply"),
        )
    return ProvisionError(
        f"the password of the role {name!r} is not known",
        evidence=[f"`roles.{name}` has no `password`, and none was generated here"],
        next_step=command("apply")
        + f"   (it generates one for a role that it creates; for one that exists, write `roles.{name}.password`)",
    )


def skip(spec: Spec) -> ProvisionError | None:
    """Go on without a password that cannot be fetched, and return why it cannot; None: it is there."""
    try:
        of(spec).reveal()
    except ProvisionError as error:
        spec.fetched["password"] = UNREAD
        return error
    return None


class Password(Secret):
    """A password that is fetched when it is revealed first; ``kept`` is the file in which a generated one was kept.

    ``key`` is where the spec has it. A file or a program that fails is not asked a second time in the same run.
    """

    __slots__ = ("_error", "_is_fetched_again", "_kept", "_key", "_not_before", "_source")

    def __init__(self, source: PasswordSource, kept: Path, key: str = "credentials.password") -> None:
        super().__init__("")
        self._source, self._kept, self._key = source, kept, key
        self._error: ProvisionError | None = None
        self._is_fetched_again, self._not_before = False, 0.0

    def __str__(self) -> str:
        is_empty = isinstance(self._source, PasswordValue) and not self._source.value.reveal()
        return "" if is_empty else super().__str__()  # who logs in by a certificate may have none

    def reveal(self) -> str:
        """Return the clear text.

        A generated password is looked up each time, because another run may have kept one meanwhile. One that is not
        kept yet is made here; writing it is a step of the plan.

        Raises:
            ProvisionError: the file is missing or empty, the program fails or prints nothing.
            SpecError: the spec names a variable that is not set.
        """
        if self._error is not None:
            raise self._error
        if isinstance(self._source, PasswordGenerated):
            self._text = _kept(self._kept) or self._text or _made()
            return self._text
        try:
            self._text = self._text or fetch(self._source, self._key).reveal()
        except ProvisionError as error:
            self._error = error
            raise
        return self._text

    def renew(self, refused: str) -> bool:
        """Fetch it again where a program or a file gives it, and tell whether that is another one than was refused.

        What gave the same again is left in peace for a while.
        """
        is_fetched = isinstance(self._source, PasswordCommand | PasswordFile)
        if is_fetched and self._text == refused and time.monotonic() >= self._not_before:
            self._text = fetch(self._source, self._key).reveal()  # type: ignore[arg-type]  # it is one of both
            self._not_before = time.monotonic() + _PATIENCE if self._text == refused else 0.0
        return self._text != refused

    def forget(self) -> None:
        """Fetch it once more when it is needed next: a server has refused it, and it may have changed meanwhile."""
        if not self._is_fetched_again and not isinstance(self._source, PasswordGenerated):
            self._is_fetched_again, self._text = True, ""


def fetch(
    source: PasswordValue | PasswordFile | PasswordCommand | PasswordMissing, key: str = "credentials.password"
) -> Secret:
    """Return the password that a spec, a file or a program gives; ``key`` is where the spec says so.

    Raises:
        ProvisionError: the file is missing or empty, the program fails or prints nothing.
        SpecError: the spec names a variable that is not set.
    """
    if isinstance(source, PasswordMissing):
        raise SpecError(source.problems)
    if isinstance(source, PasswordValue):
        return source.value
    if isinstance(source, PasswordFile):
        where = f"the password file {source.path}"
        if (content := read_bytes(source.path)) is None:
            raise ProvisionError(f"{where} does not exist", next_step=making(source.path))
        return _first_line(_decoded(content, where), where)
    where = f"the program {source.argv[0]!r}"
    return _first_line(_decoded(_output(source, key), where), where)


def _made() -> str:
    import secrets

    return secrets.token_urlsafe(_BYTES)


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


def _output(source: PasswordCommand, key: str) -> bytes:
    shown, by_hand = source.argv[0], f"run the program of `{key}.command` yourself"  # what follows it may be a secret
    from provision.system import processes

    failed = ProvisionError(f"the password program {shown!r} cannot be run", next_step=by_hand)
    with translated(OSError, processes.TimeoutExpired, into=failed):
        done = processes.run(source.argv, cwd=source.cwd, capture_output=True, timeout=_TIMEOUT)
    if done.returncode != 0:
        raise ProvisionError(
            f"the password program {shown!r} failed with exit code {done.returncode}",
            evidence=done.stderr.decode(errors="replace").splitlines()[-5:],
            next_step=by_hand,
        )
    return done.stdout
