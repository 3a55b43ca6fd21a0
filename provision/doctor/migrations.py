"""Checks of the migrations: the interpreter of each tree, its Alembic, and what its ``env.py`` imports."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from provision.alembic import Trees, environment, filled, masked_forms
from provision.doctor.finding import Finding, Level, Scene, guarded
from provision.model import MASK, Endpoint, Secret
from provision.spec.masking import secrets_of
from provision.spec.model import Migrations
from provision.system import processes

_PROGRAM: Final = Path(__file__).parents[1] / "alembic" / "child" / "imports.py"
_SECONDS: Final = 60.0
_NOWHERE: Final = Endpoint("localhost", 5432, "nobody", Secret("unused"), "nowhere")
"""The server that variables of the spec name: no import needs one."""
_PIP: Final = "-m pip install"


def imports(scene: Scene) -> Iterator[Finding]:
    """Import what each ``env.py`` imports, with the interpreter that migrates."""
    if scene.spec is None:
        return
    trees = Trees(scene.spec)
    for tree in scene.spec.migrations:
        subject = "migrations" if len(scene.spec.migrations) == 1 else f"migrations/{tree.name}"
        yield from guarded(subject, partial(_of_tree, trees, tree, subject))


def _of_tree(trees: Trees, tree: Migrations, subject: str) -> Iterator[Finding]:
    python = str(tree.python or sys.executable)
    count = len(trees[tree.name].revisions)
    place = trees.location(tree.name)
    revisions = f"{count} revision{'s' if count != 1 else ''}"
    if tree.command or tree.prepare:
        which = "its own program migrates" if tree.command else "`prepare` runs before env.py"
        yield Finding(subject, Level.OK, f"{revisions}; {which}, so no import was tried")
        return
    done = processes.run(
        (python, str(_PROGRAM), str(place.env), str(place.cwd)),
        cwd=place.cwd,
        env={**environment(tree), **filled(tree, _NOWHERE)},
        stdin=processes.DEVNULL,
        capture_output=True,
        timeout=_SECONDS,
        unknown=f"what env.py imports: {python} was not run",
    )
    try:
        said = json.loads(done.stdout.decode(errors="replace").strip().splitlines()[-1])
    except (IndexError, ValueError):
        lines = tuple(_masked(done.stderr.decode(errors="replace"), tree).splitlines()[-5:])
        yield _not_imported(subject, python, lines)
        return
    if "Error" in said["alembic"]:
        advice = f"{python} {_PIP} alembic   (or name another interpreter in `migrations.python`)"
        yield Finding(subject, Level.PROBLEM, f"{python} has no Alembic", (said["alembic"],), advice)
        return
    if faults := said["faults"]:
        lines = tuple(_masked(f"import {name}: {why.splitlines()[0]}", tree) for name, why in faults.items())
        yield _not_imported(subject, python, lines)
        return
    with_what = f"Alembic {said['alembic']} of Python {said['python']}"
    yield Finding(subject, Level.OK, f"{revisions}; {with_what} imports what env.py does")


def _masked(text: str, tree: Migrations) -> str:
    for form in masked_forms(secrets_of(tree)):
        text = text.replace(form, MASK)
    return text


def _not_imported(subject: str, python: str, lines: tuple[str, ...]) -> Finding:
    is_missing = any("ModuleNotFoundError: " in each or "ImportError: " in each for each in lines)
    what = f"{python} {_PIP} …   (what is missing; or" if is_missing else "correct what it says   (or"
    advice = f"{what} name another interpreter in `migrations.python`)"
    return Finding(subject, Level.PROBLEM, f"{python} cannot import what env.py imports", lines, advice)


CHECKS: Final[dict[str, Callable[[Scene], Iterator[Finding]]]] = {"migrations": imports}
