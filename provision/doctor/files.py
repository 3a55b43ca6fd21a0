"""Checks of files: what Git would take along, who can read a secret, and the schema that an editor reads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from provision.doctor.finding import Finding, Level, Scene
from provision.errors import as_word
from provision.spec.model import Spec
from provision.spec.modeline import PLACE, is_named
from provision.spec.passwords import PasswordCommand, PasswordFile
from provision.system import files, git
from provision.version import __version__

_OTHERS: Final = 0o077


def ignored(scene: Scene) -> Iterator[Finding]:
    """Say whether Git leaves ``.provision/`` out."""
    if scene.spec is None:
        return
    parent = scene.spec.path.parent
    answer = git.is_ignored(parent, ".provision/NAME")
    if answer is True:
        yield Finding("git", Level.OK, ".provision/ is ignored")
    elif answer is False:
        where = os.path.relpath(parent / ".gitignore")
        sentence = "Git does not ignore .provision/, where secrets and rendered files are"
        yield Finding("git", Level.WARNING, sentence, next_step=f"echo '.provision/' >> {where}")


def writable(scene: Scene) -> Iterator[Finding]:
    """Say where the files of the environment cannot be written, unless there is nothing to write."""
    if scene.spec is None or (scene.seen is not None and not scene.seen.plan.steps):
        return
    home = scene.spec.home
    place = next(each for each in (home, *home.parents) if each.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        sentence = f"{place} cannot be written to, and the files of the environment are made there"
        yield Finding("files", Level.PROBLEM, sentence, next_step=f"ls -ld {as_word(place)}")


def secrets(scene: Scene) -> Iterator[Finding]:
    """Say who can read the passwords that are kept in files, and whether the programs that print them are here."""
    if scene.spec is None:
        return
    wide = [each for each in _secret_files(scene.spec) if files.mode_of(each) & _OTHERS]
    for each in wide:
        shown = os.path.relpath(each)
        yield Finding("secrets", Level.PROBLEM, f"others can read {shown}", next_step=f"chmod 600 {as_word(shown)}")
    sources = [scene.spec.server.password, *(role.password for role in scene.spec.roles.values())]
    missing = {each.argv[0] for each in sources if isinstance(each, PasswordCommand) and not _is_program(each)}
    for name in sorted(missing):
        yield Finding("secrets", Level.PROBLEM, f"the program {name!r}, which prints a password, is not here")
    if not wide and not missing:
        yield Finding("secrets", Level.OK, "only you can read the passwords that are kept in files")


def _is_program(source: PasswordCommand) -> bool:
    name = source.argv[0]
    return shutil.which(name) is not None or shutil.which(str(source.cwd / name)) is not None


def _secret_files(spec: Spec) -> Iterator[Path]:
    sources = [spec.server.password, *(role.password for role in spec.roles.values())]
    yield from (each.path for each in sources if isinstance(each, PasswordFile) and files.exists(each.path))
    with suppress(OSError):
        yield from (each for each in sorted((spec.home / "secrets").rglob("*")) if each.is_file())


def schema(scene: Scene) -> Iterator[Finding]:
    """Say whether the schema that the spec names for editors is there, and of this version."""
    spec = scene.spec
    if spec is None or not is_named(files.read_text(spec.path) or ""):
        return
    place = spec.path.parent / PLACE
    text = files.read_text(place)
    version = ""
    with suppress(ValueError, AttributeError):
        version = str(json.loads(text or "{}").get("$comment", "")).removeprefix("provision ")
    if version == __version__:
        yield Finding("editor", Level.OK, f"{PLACE} is there")
        return
    what = f"is of provision {version}" if version else "is not there"
    step = f"provision schema -o {as_word(os.path.relpath(place))}"
    yield Finding("editor", Level.WARNING, f"the schema that the spec names for editors {what}", next_step=step)


CHECKS: Final[dict[str, Callable[[Scene], Iterator[Finding]]]] = {
    "files": writable,
    "git": ignored,
    "secrets": secrets,
    "editor": schema,
}
