"""One tree of migrations, as far as it decides what its revisions make."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from provision.alembic import Location, Trees, resolve
from provision.golden import interpreter, keyed
from provision.golden.key import TreeInputs, UnknownError
from provision.model import Secret
from provision.observe.outside import World
from provision.spec.model import Migrations, Spec

_MOST_FILES = 2000
_NO_CODE = ("node_modules", "__pycache__")
_ID_DIGITS = 20


def of_trees(world: World) -> Iterator[TreeInputs]:
    """Yield what decides what each tree makes; what trees share is looked at once.

    Raises:
        UnknownError: it is not known, in words.
        provision.errors.ProvisionError: the tree is not in order, or may not be looked at.
    """
    interpreters: dict[Path | None, dict[str, str]] = {}
    files: dict[tuple[Path, ...], dict[str, str]] = {}
    for tree in world.spec.migrations:
        if tree.python not in interpreters:
            interpreters[tree.python] = interpreter.describe(tree, root_of(world.spec.directory))
        location = world.trees.location(tree.name)
        at = (location.script, *location.versions)
        if at not in files:
            paths = {each.path for each in world.trees[tree.name].revisions.values()}
            files[at] = _others(location, paths, f"migrations/{tree.name}")
        yield _of_tree(world, tree, {**interpreters[tree.python], **files[at]})


def _of_tree(world: World, tree: Migrations, shared: Mapping[str, str]) -> TreeInputs:
    spec = world.spec
    where = f"migrations/{tree.name}"
    if tree.command and spec.server.golden != "true":
        raise UnknownError(f"nothing tells what the program of {where} does; `server.golden: true` trusts it")
    if tree.tenants and spec.server.golden != "true":
        raise UnknownError(f"{where} has tenants, and a copy of the data has those of another time")
    graph = world.trees[tree.name]
    rows = graph.version_rows(resolve(graph, tree.target))
    applied = dict.fromkeys(graph.pending((), rows))
    digests = {name: each.sha256[:_ID_DIGITS] for name, each in graph.revisions.items()}
    return TreeInputs(
        tree.name,
        rows,
        {name: digests[name] for name in applied},
        {name: digest for name, digest in digests.items() if name not in applied},
        {**_declared(spec, tree), **_files(spec, tree), **shared},
    )


def _declared(spec: Spec, tree: Migrations) -> dict[str, str]:
    table = (tree.version_table_schema, tree.version_table)
    found = {
        "database": spec.database_of(tree),
        "version table": ".".join([each for each in table if each]),
        "as": tree.login or "",
        "role": tree.role or "",
        "options": _values(tree, tree.options),
        "env": _values(tree, tree.env),
        "x": _values(tree, tree.x),
        "attributes": " ".join([f"{name}={what}" for name, what in sorted(tree.attributes.items())]),
        "url_driver": tree.url_driver or "",
        "section": tree.section,
        "transaction_per_revision": str(tree.transaction_per_revision),
        "ledger": str(tree.ledger),
        "command": keyed.secret(tree.command) if tree.command else "",
        "prepare": "" if tree.prepare is None else shown(spec, tree.prepare),
        "cwd": shown(spec, str(tree.cwd or "")),
        "place": shown(spec, str(tree.config or tree.script_location or tree.package or "")),
    }
    return {name: value for name, value in found.items() if value}


def _values(tree: Migrations, values: Mapping[str, Secret]) -> str:
    """Return the digest of templates, whose variables of the caller are filled in; with a key where these are there."""
    texts = {name: each.reveal() for name, each in values.items()}
    if not texts:
        return ""
    return keyed.secret(texts) if tree.masked else keyed.text(texts)


def _files(spec: Spec, tree: Migrations) -> dict[str, str]:
    """Return the files that the spec names."""
    names = [str(tree.config)] if tree.config else []
    if tree.prepare is not None and os.path.isabs(tree.prepare):  # noqa: PTH117
        names.append(tree.prepare.partition(".py:")[0].removesuffix(".py") + ".py")
    return {f"file {shown(spec, each)}": keyed.of_file(Path(each)) or "none" for each in names}


def shown(spec: Spec, path: str) -> str:
    """Return a path as it is in each checkout of a project: below its root, relative to the spec's directory."""
    root = root_of(spec.directory)
    if not os.path.isabs(path) or not Path(path).is_relative_to(root):  # noqa: PTH117
        return path
    return os.path.relpath(path, spec.directory)


@lru_cache(maxsize=8)
def root_of(directory: Path) -> Path:
    """Return the directory with the repository in which a spec lies; without one, that of the spec."""
    return next((each for each in (directory, *directory.parents) if (each / ".git").exists()), directory)


# --- the files below a tree's location


def places(location: Location) -> list[str]:
    """Return the directories of a tree, without those that lie in another of them."""
    found = sorted({os.path.abspath(each) for each in (location.script, *location.versions)})  # noqa: PTH100
    return [each for each in found if not any(each.startswith(other + os.sep) for other in found)]


def is_hidden(name: str) -> bool:
    """Tell whether a file or directory below a tree's location is none of its own."""
    return name.startswith(".") or name in _NO_CODE or name.endswith((".pyc", "~"))


def covers(trees: Trees, name: str, path: str) -> bool:
    """Tell whether a path is one of those that :func:`of_tree` compares, or would be if it were there."""
    for place in places(trees.location(name)):
        if path == place or path.startswith(place + os.sep):
            return not any(is_hidden(each) for each in Path(path[len(place) + 1 :]).parts)
    return False


def _others(location: Location, revisions: set[Path], where: str) -> dict[str, str]:
    """Return the files below the location of a tree that are no revisions, with their digests."""
    known = {str(each) for each in revisions}
    found: dict[str, str] = {}
    for place in places(location):
        for path in _walk(place, set()):
            if path in known:
                continue
            name = f"file {os.path.basename(place)}{path[len(place) :]}"  # noqa: PTH119  # two places can have one
            found[name] = keyed.text([found.get(name), keyed.of_file(Path(path))])
            if len(found) > _MOST_FILES:
                raise UnknownError(f"there are more than {_MOST_FILES} files beside the revisions of {where}")
    return found


def _walk(directory: str, seen: set[Any]) -> Iterator[str]:
    try:
        found = Path(directory).stat()
        entries = sorted(os.scandir(directory), key=lambda each: each.name)
    except OSError:
        return
    if (found.st_dev, found.st_ino) in seen or any(each.name == "pyvenv.cfg" for each in entries):
        return
    seen.add((found.st_dev, found.st_ino))
    for each in entries:
        if is_hidden(each.name):
            continue
        if each.is_dir():
            yield from _walk(each.path, seen)
        else:
            yield each.path
