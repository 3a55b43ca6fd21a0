"""The files of an Alembic environment where there is none: on the models that are there, else on new ones."""

from __future__ import annotations

import re
from itertools import chain, count
from typing import TYPE_CHECKING

from provision.alembic.tree import bases
from provision.alembic.tree.bases import Base, Models
from provision.errors import RefusedError
from provision.init.found import Finding, NewFile, Tree
from provision.init.trees import INI
from provision.rendering import render_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provision.init.found import Directory

_SCRIPTS = ("migrations", "alembic", "alembic_migrations")
_MODELS = ("models", "tables", "database_models")
DRIVERS = ("psycopg2", "psycopg", "asyncpg")
EXAMPLE = "create userdata"
TABLES = "create tables"


def make(
    directory: Directory, tree: Tree | None, templates: Mapping[str, str]
) -> tuple[Tree, str, tuple[NewFile, ...], tuple[Finding, ...], list[str]]:
    """Return the tree that is made, the message of its first revision, its files, the models found, and remarks.

    ``tree`` is one whose configuration is there, and its directory is not.

    Raises:
        ProvisionError: a file is not valid Python, so models cannot be looked for.
        RefusedError: there is no name left for a file that has to be made.
    """
    models, remarks = bases.find(directory.texts, directory.names)
    files: list[NewFile] = []  # in an order in which a run that was broken off can be gone on with
    message = TABLES
    found = tuple(Finding(base.path, f"the tables of {base.metadata}") for base in models.bases)
    script = tree.script if tree and tree.script else _free(directory, _SCRIPTS, "migrations", remarks)
    files.append(NewFile(f"{script}/script.py.mako", templates["script.py.mako"]))
    files.append(NewFile(f"{script}/versions/.gitkeep", ""))
    if not models.bases:
        message, module = EXAMPLE, _free(directory, _MODELS, "models", remarks)
        files.append(NewFile(f"{module}.py", templates["models.py.j2"]))
        models = Models((Base(module, "Base", "Base.metadata", f"{module}.py"),))
    values = _values(directory, models, script)
    if tree is None:
        files.insert(0, NewFile(INI, render_template("alembic.ini.j2", templates, values)))
        tree = Tree("alembic", INI, "alembic", script)
    files.append(NewFile(f"{script}/env.py", _tidy(render_template("env.py.j2", templates, values))))
    return tree, message, tuple(file for file in files if file.path not in directory.names), found, remarks


def _values(directory: Directory, models: Models, script: str) -> dict[str, object]:
    """Return what the templates are filled with."""
    python = directory.interpreter()
    packages: frozenset[str] = python.packages if python else frozenset()
    driver = next((each for each in DRIVERS if each in packages), DRIVERS[0])
    named = _distinct(models.bases)
    metadata = [re.sub(r"^\w+", name, base.metadata) for name, base in named]
    roots = ["%(here)s" if root == "." else f"%(here)s/{root.replace('%', '%%')}" for root in models.roots]
    return {
        "asynchronous": driver == "asyncpg",
        "driver": driver,
        "modules": models.modules,
        "bases": [(base.module, base.name if base.name == name else f"{base.name} as {name}") for name, base in named],
        "metadata": metadata[0] if len(metadata) == 1 else f"[{', '.join(metadata)}]",
        "script_location": script,
        "roots": ":".join(roots),
    }


def _distinct(found: Iterable[Base]) -> list[tuple[str, Base]]:
    """Return bases under names that differ: those of several modules are often called the same."""
    named: dict[str, Base] = {}
    for base in found:
        names = chain((base.name,), (f"{base.name}{number}" for number in count(2)))
        named[next(name for name in names if name not in named)] = base
    return list(named.items())


def _tidy(text: str) -> str:
    """Return Python with no more than one empty line between imports, whatever part of them was left out."""
    head, mark, rest = text.partition("\nconfig = ")
    return re.sub(r"\n{3,}", "\n\n", head) + mark + rest


def _free(directory: Directory, names: tuple[str, ...], what: str, remarks: list[str]) -> str:
    """Return the first name that neither a directory nor a module has."""
    taken: list[str] = []
    for name in names:
        found = sorted({name, f"{name}.py"} & directory.names)
        if not found:
            remarks += [f"{each} is something else, and stays as it is; the new {what} are in {name}" for each in taken]
            return name
        taken += found
    raise RefusedError(
        f"there is no name left for {what}: {', '.join(names)} are all taken",
        next_step="rename one of them, then: provision init",
    )
