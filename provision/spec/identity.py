"""Which environment a checkout has: ``identity``, linked Git worktrees, and the variable ``PROVISION_NAME``.

Everything that names something outside a server follows the environment's name, so that checkouts of one repository
share nothing. Names inside a server stay.
"""

from __future__ import annotations

import os.path
import re
from hashlib import sha256
from pathlib import Path

from provision.environ import OWN_NAME
from provision.model.value import replace
from provision.spec.model import DataPath, Server, Spec, Volume, Worktree
from provision.spec.readers import LONGEST_NAME, NAME, NAME_RULE
from provision.spec.reading import Reading
from provision.spec.yaml import Mapping, Mark, Node

_BETWEEN = "--"
_LAST_PORT = 65535
_HASH = 6


def settled(spec: Spec, top: Mapping, reading: Reading, kind: str) -> Spec:
    """Return a spec with the names that it has in this checkout; ``kind`` is its key ``identity``."""
    given, tree = reading.environ.get(OWN_NAME, ""), reading.worktree
    main = _in_main(spec, tree)
    if tree is not None and kind == "shared":
        if tree.main is None:
            message = "`identity`: this worktree has no main checkout whose environment could be shared"
            reading.report(_mark(top, "identity"), message, "leave out the key: the worktree then has its own")
            return spec
        spec = _shared(spec, tree, tree.main)
    elif main is not None:
        spec = replace(spec, main_path=main / spec.path.name)
    if given:
        return _given(spec, given, top, reading)
    if tree is None or kind == "shared" or spec.server.runtime == "external":
        return spec
    name, told = in_worktree(spec.name, tree.name), f"this is the Git worktree {tree.name!r}"
    is_new = not _is_there(spec, name)
    if is_new and _is_made(spec):
        return replace(spec, named=f"{told}, where the environment was made with this name")
    _check_data(spec.server, top, reading)
    return replace(
        _named(spec, name), named=f"{told}, so the environment is its own", plain_name=spec.name if is_new else ""
    )


def _in_main(spec: Spec, tree: Worktree | None) -> Path | None:
    """Return the directory of the spec in the main checkout."""
    return None if tree is None or tree.main is None else tree.main / spec.directory.relative_to(tree.root)


def in_worktree(name: str, worktree: str) -> str:
    """Return the name of an environment in a worktree: valid, and with a hash where it is too long.

    >>> in_worktree("shop-dev", "Feature.X")
    'shop-dev--feature-x'
    """
    word = re.sub(r"[^a-z0-9_-]+", "-", worktree.lower()).strip("-_")
    whole = f"{name}{_BETWEEN}{word}"
    if word and len(whole) <= LONGEST_NAME:
        return whole
    digest = sha256(f"{name}{_BETWEEN}{worktree}".encode()).hexdigest()[:_HASH]
    if not word:
        whole = f"{name}{_BETWEEN}{digest}"
        if len(whole) <= LONGEST_NAME:
            return whole
    return f"{whole[: LONGEST_NAME - _HASH - 1].rstrip('-_')}-{digest}"


def _given(spec: Spec, name: str, top: Mapping, reading: Reading) -> Spec:
    """Return a spec with the name that the variable says."""
    if not re.fullmatch(NAME, name) or len(name) > LONGEST_NAME:
        message = f"the environment variable `{OWN_NAME}`, which is used in place of `name`, is not a name: {NAME_RULE}"
        reading.report(_mark(top, "name"), message, f"set one of at most {LONGEST_NAME} characters, or unset it")
        return spec
    if reading.worktree is not None and spec.main is None:
        _check_data(spec.server, top, reading)
    return replace(_named(spec, name), named=f"{OWN_NAME} names the environment")


def _shared(spec: Spec, tree: Worktree, main: Path) -> Spec:
    """Return the spec of the environment of the main checkout, whose top directory is ``main``."""

    def there(path: Path) -> Path:
        for each, root in ((path, tree.root), (Path(os.path.realpath(path)), Path(os.path.realpath(tree.root)))):
            if each.is_relative_to(root):
                return main / each.relative_to(root)
        return path

    directory = main / spec.directory.relative_to(tree.root)
    server = spec.server
    if isinstance(server.data, DataPath):
        server = replace(server, data=DataPath(there(server.data.path)))
    # A container names its scripts by their paths, which are the same from every checkout then.
    scripts = tuple([there(each) if there(each).exists() else each for each in server.initdb])
    server = replace(server, initdb=scripts)
    return replace(
        spec, server=server, main=directory, named=f"the environment is that of {directory} (`identity: shared`)"
    )


def _named(spec: Spec, name: str) -> Spec:
    """Return a spec with another name, which all follows that has to differ.

    The declared port is left to the environment that has the name: it may be applied at the same moment.
    """
    server, old = spec.server, spec.name
    if server.runtime == "external":
        return replace(spec, name=name)
    suffix = name.removeprefix(old) if name.startswith(old + _BETWEEN) else _BETWEEN + name
    suffix = "" if name == old else suffix
    container = name if server.container_name == old else server.container_name + suffix
    data = server.data
    if isinstance(data, Volume):
        data = Volume(f"{name}-data" if data.name == f"{old}-data" else data.name + suffix)
    port = None if server.port is None else min(server.port + int(name != old), _LAST_PORT)
    server = replace(server, container_name=container, data=data, port=None, first_port=port)
    return replace(spec, name=name, server=server)


def _check_data(server: Server, top: Mapping, reading: Reading) -> None:
    """Report a data directory that other checkouts have too."""
    tree, data = reading.worktree, server.data
    if not isinstance(data, DataPath) or tree is None:
        return
    if Path(os.path.realpath(data.path)).is_relative_to(os.path.realpath(tree.root)):
        return
    message = "`path`: the directory is outside of this Git worktree, so every other checkout has the same one"
    way = "write a path relative to the spec and inside of the checkout, like `./data`, or use a volume; or write "
    reading.report(_mark(top, "server", "data", "path"), message, way + "`identity: shared` for one server of all")


def _mark(top: Mapping, *keys: str) -> Mark:
    """Return where a value is, or the last of the keys to it that is there."""
    node: Node = top
    for key in keys:
        if not isinstance(node, Mapping) or key not in node.entries:
            break
        node = node.entries[key][1]
    return node.mark


def _is_there(spec: Spec, name: str) -> bool:
    return (spec.directory / ".provision" / name).exists()


def _is_made(spec: Spec) -> bool:
    """Tell whether an environment was made here under its plain name: one that was copied here names another place."""
    if not _is_there(spec, spec.name):
        return False
    try:
        rendered = (spec.home / "docker-compose.yml").read_text()
    except (OSError, ValueError):
        return True
    return str(spec.directory) in rendered
