"""``check``, ``revision`` and ``merge``: the models against the database, and new revision files.

Metadata without tables matches every database and would drop all of it. It is right in a project that has no models, so
we search the project's files for some; we import none of them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from provision.alembic.running.ask import Comparison, Written, ask_comparison, ask_revision
from provision.alembic.running.errors import EmptyModelsError
from provision.alembic.sessions import entered, located, within
from provision.alembic.state import Revisions, refuse_long
from provision.alembic.tree import bases
from provision.alembic.tree.source import VERSION_NUM_WIDTH, id_fault, names_version_num
from provision.alembic.tree.targets import resolve
from provision.alembic.tree.version_table import version_num_width
from provision.alembic.verbs.database import ask, look, refuse_rows, refuse_several
from provision.errors import MigrationsError, ProvisionError, RefusedError, command
from provision.model.words import some
from provision.system import listing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provision.alembic.child.protocol import NewRevision
    from provision.alembic.trees import Tree
    from provision.model import Endpoint

    Answer = TypeVar("Answer")
    Server = Callable[[], Endpoint]
    """Where the server is reached; an error where it does not run."""

_DEFAULTS: NewRevision = {
    "message": "",
    "autogenerate": False,
    "head": "head",
    "splice": False,
    "branch_label": None,
    "version_path": None,
    "rev_id": None,
    "depends_on": None,
}
"""The options of ``alembic revision`` as they are where they are not given."""
_SHOWN = 5
_DATA = ("- table ", "- column ")


def check(tree: Tree, server: Server) -> Comparison:
    """Compare the models with the database.

    Raises:
        UnavailableError: the server does not run.
        RefusedError: the database is not at head, so the difference would be what was not migrated yet.
        StepFailedError: env.py failed, or names no models or none with tables.
    """
    return compare_models(tree, _at_head(tree, server))


def advice(differences: Sequence[str], again: str) -> str:
    """Return what to do about differences; ``again`` writes a revision of them, which may take data away."""
    names, them = _lost(differences)
    if not names:
        return again + "; or correct the models"
    return f"correct the models to keep {names}; what would DROP {them}, with the data: " + again


def after_writing(operations: Sequence[str], again: str) -> str:
    """Return what to do with a new revision file; ``again`` runs it, which may take data away."""
    names, them = _lost(operations)
    return f"read it{f' (it drops {names}, with the data in {them})' if names else ''}, then: {again}"


def _lost(differences: Sequence[str]) -> tuple[str, str]:
    """Return the name of what a revision of these differences drops, empty where it drops no data; and its pronoun."""
    lost = [each.removeprefix("- ") for each in differences if each.startswith(_DATA)]
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return "".join(lost[:1]) + more, "them" if more else "it"


def revision(tree: Tree, options: Mapping[str, Any], server: Server, *, allow_empty: bool = False) -> Written:
    """Write a revision file; without any file in the answer: nothing was found that would be in it.

    ``options`` are those of ``alembic revision`` that are given. ``server`` is asked only if need be.

    Raises:
        MigrationsError: it is not clear what it is to follow, or its id is taken.
        UnavailableError: autogenerate needs the server, and it does not run.
        RefusedError: the database is not at head.
        StepFailedError: env.py failed, or the file cannot be written.
    """
    given = _given(options)
    name = given["rev_id"]
    if name is not None and name in tree.graph:
        raise MigrationsError(
            f"there is a revision {name} already",
            evidence=(tree.graph[name].place,),
            next_step="write another --rev-id, or none",
        )
    if name is not None and (fault := _rev_id_fault(tree, name, server)) is not None:
        raise MigrationsError(fault, next_step=f"write a --rev-id of 1 to {VERSION_NUM_WIDTH} characters, or none")
    if given["head"] == "head" and len(tree.graph.heads) > 1:
        raise MigrationsError(
            f"the tree has {len(tree.graph.heads)} heads, so it is not clear what the new revision is to follow",
            evidence=[f"{tree.graph[each]}  ({tree.graph[each].path})" for each in tree.graph.heads],
            next_step="say which with --head, or join them first: " + command("migrate merge", "-m 'merge' heads"),
        )
    endpoint = _at_head(tree, server) if given["autogenerate"] else None
    return _write(tree, given, server, allow_empty=allow_empty, endpoint=endpoint)


def _rev_id_fault(tree: Tree, name: str, server: Server) -> str | None:
    """Return what is wrong with an id. The table of a server that does not run is taken for one of Alembic's."""
    fault = id_fault(name)
    if not name or fault is None:
        return fault
    if names_version_num(tree.location.env.read_bytes()):
        return None
    with suppress(ProvisionError):
        width = ask(tree, server(), lambda query: version_num_width(tree.declared, within(tree.declared, query)))
        return id_fault(name, width or VERSION_NUM_WIDTH)
    return fault


def merge(tree: Tree, options: Mapping[str, Any], names: Sequence[str], server: Server) -> Written:
    """Write a revision that follows several heads.

    Raises:
        MigrationsError: there are not several, or one of them is none.
        StepFailedError: the file cannot be written.
    """
    named = [name for name in names if name != "heads"]
    heads = tuple(dict.fromkeys(head for name in named for head in resolve(tree.graph, name)))
    heads = heads if named else tree.graph.heads
    if len(heads) < 2:  # noqa: PLR2004  # a join has two sides
        raise MigrationsError(
            "there is nothing to merge: the tree has one head",
            evidence=[str(tree.graph[name]) for name in tree.graph.heads],
            next_step=command("migrate history"),
        )
    return _write(tree, _given({**options, "head": list(heads)}), server, allow_empty=True)


def _given(options: Mapping[str, Any]) -> NewRevision:
    return cast("NewRevision", {**_DEFAULTS, **options})


def _write(
    tree: Tree, given: NewRevision, server: Server, *, allow_empty: bool, endpoint: Endpoint | None = None
) -> Written:
    files, others = (tree.declared, tree.graph, tree.location), tree.other_version_tables
    ask = partial(ask_revision, files, given, allow_empty=allow_empty, others=others)

    def write(at: Endpoint | None) -> Written | None:
        own = at and entered(tree.spec, tree.declared, at)
        return with_tables(tree, lambda none: ask(endpoint=at, session=own, no_tables=none))

    # env.py is run for every new file where the configuration says `revision_environment = true`
    if endpoint is None and (done := write(None)) is not None:
        return done
    refuse_several(tree)
    done = write(endpoint or located(tree.declared, server()))
    if done is None:
        raise TypeError("the child asked for a server twice")
    return done


def _at_head(tree: Tree, server: Server) -> Endpoint:
    """Return where the server is reached whose database is at the head that the models belong to."""
    program = tree.declared.command
    if program:
        raise RefusedError(
            f"{tree.name} is migrated by its own program, {program[0]}: only that can reach its models",
            next_step=command("migrate revision", "-m '…'") + "   # without --autogenerate",
        )
    refuse_several(tree)
    endpoint = located(tree.declared, server())
    found = look(tree, endpoint)
    refuse_rows(tree, found.rows)
    refuse_pending(tree, found)
    return endpoint


def refuse_pending(tree: Tree, found: Revisions) -> None:
    """Refuse to compare models with a database that is not at the head that they belong to.

    Raises:
        MigrationsError: the version table cannot hold the id of a pending revision.
        RefusedError: with the revisions that are pending.
    """
    rows, (branch, at, _) = found.rows, tree.declared.target.partition("@")
    target = f"{branch}@head" if at else "heads" if len(tree.graph.heads) > 1 else "head"
    pending = tree.graph.pending(rows, resolve(tree.graph, target))
    if pending:
        refuse_long(tree.graph, pending, found)
        raise RefusedError(
            f"the database is not at {target}, so what is not migrated yet would count as a difference",
            evidence=[f"it is at {' + '.join(rows) or 'base'}", *[f"pending: {tree.graph[name]}" for name in pending]],
            next_step=command("migrate upgrade", target),
        )


def compare_models(tree: Tree, endpoint: Endpoint) -> Comparison:
    """Compare the models of ``env.py`` with a database.

    Raises:
        NoModelsError: env.py names no models.
        EmptyModelsError: it names models without tables, and files of the project have some.
        StepFailedError: env.py failed, or went to another database.
        UnavailableError: the server cannot be reached.
    """
    files, others = (tree.declared, tree.graph, tree.location), tree.other_version_tables
    own = entered(tree.spec, tree.declared, endpoint)
    return with_tables(tree, lambda none: ask_comparison(*files, endpoint, others, no_tables=none, session=own))


def with_tables(tree: Tree, ask: Callable[[bool], Answer]) -> Answer:
    """Ask for models with tables, and again, with True, where none of the project's files has a table.

    Raises:
        EmptyModelsError: a file has; the evidence names it.
    """
    try:
        return ask(False)
    except EmptyModelsError as error:
        models = _models(tree)
        if not models.tables:
            return ask(True)
        named = [f"the module {each} has tables" for each in models.tables]
        error.evidence = (*error.evidence, *some(named, _SHOWN))
        metadata = [f"{each.module}.{each.metadata}" for each in models.bases]
        given = metadata[0] if len(metadata) == 1 else f"[{', '.join(metadata)}]"
        env = os.path.relpath(tree.location.env)
        error.next_step = f"in {env}: `import {', '.join(models.tables[:_SHOWN])}`, and `target_metadata={given}`"
        raise


def _models(tree: Tree) -> bases.Models:
    root = tree.location.cwd
    while (root / "__init__.py").exists():  # the names of its modules begin with that of the package
        root = root.parent
    names = frozenset(listing.names(root))
    texts = {name: text for name in names if (text := listing.text(root, name)) is not None}
    with suppress(ProvisionError):  # a file with a base is not valid Python: what env.py imports is known to be
        return bases.find(texts, names)[0]
    return bases.Models()
