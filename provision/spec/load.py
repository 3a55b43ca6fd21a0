"""A file → :class:`~provision.spec.model.Spec`, or every problem of the file at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from provision.errors import SpecError, UsageError, as_word
from provision.model.value import replace
from provision.spec.model import Spec, Worktree
from provision.spec.reading import BASE, Reading, nearest
from provision.spec.sections import env_files, homes, spec
from provision.spec.variables import Variables
from provision.spec.yaml import MAXIMUM_BYTES, parse


class Circumstances(TypedDict, total=False):
    """What decides how a spec is read. ``major`` is the major version of the image, for a spec that does not say it.

    With ``needs_password_file``, a missing password file is a problem too; `plan --no-commands` and `stop` work without
    one. With ``may_lack``, variables may be unset where their values do not say which server it is: `stop` does not
    need the value of a setting. ``worktree`` is the linked Git worktree that the file is in.
    """

    major: int
    needs_password_file: bool
    may_lack: bool
    worktree: Worktree | None


def load(
    path: Path, environ: Mapping[str, str], *, overrides: Sequence[str] = (), **how: Unpack[Circumstances]
) -> Spec:
    """Return the spec in the file at ``path``, with the variables of ``environ`` put in.

    Nothing is read but this file, the one that it extends, files of variables, and the presence of the files that it
    names. ``overrides`` are what it says for one run, like ``server.port=5433``.

    Raises:
        SpecError: the file is wrong; all of its problems are in the error.
        UsageError: there is no such file, or it cannot be read; or an override is not written as one, or is a secret.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  # Path.resolve() would follow links, and move relative paths
    return read(path, _content(path), environ, overrides=overrides, **how)


def again(spec: Spec, environ: Mapping[str, str], *, major: int) -> Spec:
    """Read a spec once more, now that the major version of its server is known.

    Raises:
        SpecError: it is wrong for that version.
    """
    content = _content(spec.path) if spec.text is None else spec.text
    return read(spec.path, content, environ, overrides=spec.overrides, major=major, may_lack=bool(spec.missing))


def read(
    path: Path,
    content: bytes,
    environ: Mapping[str, str],
    *,
    overrides: Sequence[str] = (),
    **how: Unpack[Circumstances],
) -> Spec:
    """Return the spec that ``content`` is, as if it stood in the file at the absolute ``path``.

    Raises:
        SpecError: it is wrong; all of its problems are in the error.
        UsageError: an override is not written as one, or is a secret.
    """
    reading = Reading(path, parse(content), Variables(environ, ()), homes, **how)
    put_together(reading, environ, overrides)
    for fault in reading.document.faults:
        reading.report(fault.mark, fault.message, fault.suggestion)
    reading.faulty = {fault.mark for fault in reading.document.faults}
    found = spec(reading.document.top, reading) if reading.document.top else None
    base = reading.sources[BASE].path if BASE in reading.sources else None
    if found is None or reading.problems:
        error = SpecError([*reading.problems, *reading.missing])
        error.base, error.is_incomplete = base, reading.is_incomplete
        raise error
    return replace(found, overrides=tuple(overrides), base=base) if base or overrides else found


def reading(path: Path, content: bytes | None, environ: Mapping[str, str], overrides: Sequence[str]) -> Reading:
    """Return the reading of a spec that is right, before anything is read of its document."""
    found = Reading(path, parse(_content(path) if content is None else content), Variables(environ, ()), homes)
    put_together(found, environ, overrides)
    return found


def put_together(reading: Reading, environ: Mapping[str, str], overrides: Sequence[str]) -> None:
    """Give a reading its variables, and to the document what the spec extends, and what is set for one run.

    Raises:
        UsageError: an override is not written as one, or holds a secret.
    """
    top = reading.document.top
    reading.environ = Variables(environ, env_files(top, reading))
    if top is not None and (overrides or "extends" in top.entries):
        from provision.spec import layers  # few specs have them

        reading.document = layers.assemble(reading, overrides, _content)
        reading.environ = Variables(environ, env_files(reading.document.top, reading))


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:  # Path.open takes no opener
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{_shown(path)} is not a regular file, and a spec is one", next_step=_advice(path))
            return file.read(MAXIMUM_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no spec {_shown(path)}", next_step=_advice(path)) from None
    except IsADirectoryError:
        raise UsageError(
            f"{_shown(path)} is a directory, and a spec is a file", next_step=_advice(path / "spec")
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name cannot be one"
        raise UsageError(
            f"the spec {_shown(path)} cannot be read: {reason}", next_step=f"ls -l {as_word(_shown(path))}"
        ) from None


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nothing writes to would be waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _advice(path: Path) -> str:
    """Say which file was probably meant."""
    try:
        found = sorted(each.name for each in path.parent.iterdir() if each.suffix in (".yml", ".yaml"))
    except OSError:
        return "give the path of a spec, like specs/dev.yml"
    if meant := nearest(path.name, found) or (found[0] if len(found) == 1 else None):
        return f"did you mean {_shown(path.parent / meant)}?"
    if found:
        return f"the specs there are {', '.join(found)}"
    return "give the path of a spec, like specs/dev.yml"


def _shown(path: Path) -> str:
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):
        return str(path)
    return str(path) if relative.startswith("..") else relative
