"""What a template was made of: what is known before, which names it, and what the code of its trees has read.

What was read is kept beside the key of this user's digests. Programs that run are trusted, as ``server.golden: true``
trusts them: what they do is not known.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from provision.errors import ProvisionError
from provision.golden import keyed, recorded
from provision.golden.inputs import plain
from provision.golden.key import Recorded, UnknownError
from provision.golden.trees import of_trees
from provision.model import TEMPLATE
from provision.model.value import asdict, replace
from provision.observe import outside
from provision.system import files, owned
from provision.system.variables import cache_home

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provision.alembic import Read
    from provision.observe.outside import World
    from provision.spec.model import Spec

_FORMAT = 2


def name(world: World, source: str) -> tuple[str, str]:
    """Return how the names of templates begin that are made of what is declared, the revisions and the interpreter.

    The second is why that is not all that is known before, in words; empty: it is.
    """
    seen, why, trees = _trusting(world, source), "", []
    spec = seen.spec
    try:
        trees = [asdict(each) for each in of_trees(seen)]
    except UnknownError as error:
        why = str(error)
    made_of = [
        _FORMAT,
        spec.name,
        str(spec.directory),
        source,
        plain(spec.databases.get(source)),
        [plain(each) for each in spec.roles.values()],
        [plain(replace(tree, target_place="")) for tree in spec.migrations],
        trees,
    ]
    keyed.keep_key()
    return named(json.dumps(made_of, sort_keys=True)), why


def named(made_of: str) -> str:
    """Return the name of the template that is made of something."""
    return TEMPLATE + _digest(made_of)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def record(world: World, source: str, begins: str, reads: Mapping[str, Read | None]) -> tuple[str, str]:
    """Keep what the code of the trees has read, and return the rest of the name; and why it is not known, in words.

    ``world`` is what was seen before they ran, and ``begins`` its :func:`name`.
    """
    try:
        text = _read(world, source, begins, reads)
        rest = "_" + _digest(text)
        files.write_atomically(_path(begins + rest), text, 0o600)
    except UnknownError as error:
        return "_" + secrets.token_hex(8), str(error)
    except ProvisionError as error:
        return "_" + secrets.token_hex(8), error.sentence
    return rest, ""


def _read(world: World, source: str, begins: str, reads: Mapping[str, Read | None]) -> str:
    after, why = name(outside.world(world.spec), source)
    if why or after != begins:
        raise UnknownError(why or "what it is made from was changed meanwhile")
    seen = _trusting(world, source)
    unread = {tree.name: None for tree in of_trees(seen) if tree.applied}
    return json.dumps(asdict(recorded.of(seen, {**unread, **reads}, world.look.began)), sort_keys=True)


def is_current(spec: Spec, template: str) -> bool:
    """Tell whether all is as it was when the code read it that a template was made with."""
    text = owned.text(_path(template))
    with suppress(ValueError, TypeError, KeyError):
        found = json.loads(text or "")
        return not recorded.changed(spec, Recorded(**{**found, "own": tuple(found["own"])}))
    return False


def forget(template: str) -> None:
    """Remove what is kept of a template."""
    with suppress(OSError):
        _path(template).unlink(missing_ok=True)


def _path(template: str) -> Path:
    return cache_home() / "provision" / "templates" / f"{template}.json"


def _trusting(world: World, source: str) -> World:
    """Return the world with the trees of one database, whose programs are trusted."""
    spec = world.spec
    trees = tuple([tree for tree in spec.migrations if spec.database_of(tree) == source])
    return replace(world, spec=replace(spec, migrations=trees, server=replace(spec.server, golden="true")))
