"""``check``, ``revision`` and ``merge``: the models against the database, and new revision files.

Metadata without tables matches every database and would drop all of it. It is right in a project that has no models, so
we search the project's files for some; we import none of them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.alembic.running.ask import ask_comparison, ask_revision
from provision.alembic.running.errors import EmptyModelsError
from provision.alembic.tree import bases
from provision.alembic.tree.bases import Models
from provision.alembic.tree.source import VERSION_NUM_WIDTH, id_fault, names_version_num
from provision.alembic.tree.targets import resolve
from provision.alembic.tree.version_table import version_num_width
from provision.alembic.verbs.scratch import asking, refuse_foreign, running
from provision.errors import MigrationsError, ProvisionError, RefusedError, command
from provision.kinds import migrations as kind
from provision.system import project

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeVar

    from provision.alembic.child.protocol import NewRevision
    from provision.alembic.running.ask import Comparison, Written
    from provision.alembic.trees import Tree
    from provision.model import Endpoint

    Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A revision file that somebody asks for; the fields are the options of ``alembic revision``."""

    message: str
    autogenerate: bool = False
    allow_empty: bool = False
    head: str | None = None
    splice: bool = False
    branch_label: str | None = None
    version_path: str | None = None
    rev_id: str | None = None
    depends_on: tuple[str, ...] = ()


def check(tree: Tree) -> Comparison:
    """Compare the models with the database.

    Raises:
        UnavailableError: the server does not run.
        RefusedError: the database is not at head, so the difference would be what was not migrated yet.
        StepFailedError: env.py failed, or names no models or none with tables.
    """
    return compare_models(tree, _at_head(tree))


def advice(differences: Sequence[str], again: str) -> str:
    """Return what to do about differences; ``again`` writes a revision of them, which may take data away."""
    lost = [text for sign, _, text in (each.partition(" ") for each in differences) if sign == "-" and _has_data(text)]
    if not lost:
        return again + "; or correct the models"
    names, them = (lost[0], "it") if len(lost) == 1 else (f"{lost[0]} and {len(lost) - 1} more", "them")
    return f"correct the models, if {names} shall stay; what would DROP {them}, with the data: " + again


def _has_data(text: str) -> bool:
    return text.startswith(("table ", "column "))


def revision(tree: Tree, wanted: Wanted) -> Written:
    """Write a revision file; without any file in the answer: nothing was found that would be in it.

    Raises:
        MigrationsError: it is not clear what it shall follow, or its id is taken.
        UnavailableError: autogenerate needs the server, and it does not run.
        RefusedError: the database is not at head.
        StepFailedError: env.py failed, or the file cannot be written.
    """
    if wanted.rev_id is not None and wanted.rev_id in tree.graph:
        raise MigrationsError(
            f"there is a revision {wanted.rev_id} already",
            evidence=(tree.graph[wanted.rev_id].place,),
            next_step="write another --rev-id, or none",
        )
    if (fault := _rev_id_fault(tree, wanted.rev_id)) is not None:
        raise MigrationsError(fault, next_step=f"write a --rev-id of 1 to {VERSION_NUM_WIDTH} characters, or none")
    if wanted.head is None and len(tree.graph.heads) > 1:
        raise MigrationsError(
            f"the tree has {len(tree.graph.heads)} heads, so it is not clear what the new revision shall follow",
            evidence=[f"{tree.graph[name]}  ({tree.graph[name].path})" for name in tree.graph.heads],
            next_step="say which with --head, or join them first: " + command("migrate merge", "-m 'merge' heads"),
        )
    endpoint = _at_head(tree) if wanted.autogenerate else None
    return _write(tree, _given(wanted), wanted.allow_empty, endpoint)


def _rev_id_fault(tree: Tree, name: str | None) -> str | None:
    """Return what is wrong with an id. The table of a server that does not run is taken for one of Alembic's."""
    fault = None if name is None else id_fault(name)
    if not name or fault is None or names_version_num(tree.location.env.read_bytes()):
        return fault if not name else None
    with suppress(ProvisionError):
        _, endpoint = running(tree)
        with asking(endpoint) as query:
            return id_fault(name, version_num_width(tree.declared, query) or VERSION_NUM_WIDTH)
    return fault


def merge(tree: Tree, wanted: Wanted, names: Sequence[str]) -> Written:
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
    return _write(tree, {**_given(wanted), "head": list(heads)}, True, None)


def _given(wanted: Wanted) -> NewRevision:
    return {
        "message": wanted.message,
        "autogenerate": wanted.autogenerate,
        "head": wanted.head or "head",
        "splice": wanted.splice,
        "branch_label": wanted.branch_label,
        "version_path": wanted.version_path,
        "rev_id": wanted.rev_id,
        "depends_on": list(wanted.depends_on) or None,
    }


def _write(tree: Tree, given: NewRevision, allow_empty: bool, endpoint: Endpoint | None) -> Written:  # noqa: FBT001
    def write(at: Endpoint | None) -> Written | None:
        files, others = (tree.declared, tree.graph, tree.location), tree.other_version_tables
        return with_tables(
            tree,
            lambda none: ask_revision(
                files, given, allow_empty=allow_empty, endpoint=at, others=others, no_tables=none
            ),
        )

    done = write(endpoint)
    if done is None:  # env.py is run for every new file, because the configuration says `revision_environment = true`
        done = write(running(tree)[1])
    if done is None:
        message = "the child asked for a server twice"
        raise TypeError(message)
    return done


def _at_head(tree: Tree) -> Endpoint:
    """Check that the database is at the head that the models belong to, and return where it is reached."""
    if tree.declared.command:
        raise RefusedError(
            f"{tree.name} is migrated by its own program, {tree.declared.command[0]}: only that can reach its models",
            next_step=command("migrate revision", "-m '…'") + "   # without --autogenerate",
        )
    _, endpoint = running(tree)
    with asking(endpoint) as query:
        found = kind.observed(tree.declared, tree.graph, query)
    refuse_foreign(tree, found.rows)
    refuse_pending(tree, found)
    return endpoint


def refuse_pending(tree: Tree, found: kind.Revisions) -> None:
    """Refuse to compare models with a database that is not at the head that they belong to.

    Raises:
        MigrationsError: the version table cannot hold the id of a pending revision.
        RefusedError: with the revisions that are pending.
    """
    target, rows = _head_of(tree), found.rows
    pending = tree.graph.pending(rows, resolve(tree.graph, target))
    if pending:
        kind.refuse_long(tree.graph, pending, found)
        raise RefusedError(
            f"the database is not at {target}, so what is not migrated yet would count as a difference",
            evidence=[f"it is at {' + '.join(rows) or 'base'}", *[f"pending: {tree.graph[name]}" for name in pending]],
            next_step=command("migrate upgrade", target),
        )


def _head_of(tree: Tree) -> str:
    """Return the target that the models belong to: the head of the spec's branch, else all heads."""
    branch, at, _ = tree.declared.target.partition("@")
    if at:
        return f"{branch}@head"
    return "heads" if len(tree.graph.heads) > 1 else "head"


_SHOWN = 5


def compare_models(tree: Tree, endpoint: Endpoint) -> Comparison:
    """Compare the models of ``env.py`` with a database.

    Raises:
        NoModelsError: env.py names no models.
        EmptyModelsError: it names models without tables, and files of the project have some.
        StepFailedError: env.py failed, or went to another database.
        UnavailableError: the server cannot be reached.
    """
    files, others = (tree.declared, tree.graph, tree.location), tree.other_version_tables
    return with_tables(tree, lambda none: ask_comparison(*files, endpoint, others, no_tables=none))


def with_tables(tree: Tree, ask: Callable[[bool], Answer]) -> Answer:
    """Ask for models with tables, and again, with True, where none of the project's files has a table.

    Raises:
        EmptyModelsError: a file has; the evidence names it.
    """
    try:
        return ask(False)
    except EmptyModelsError as error:
        models = _search(tree.location.cwd)
        if not models.tables:
            return ask(True)
        _advise(error, models, os.path.relpath(tree.location.env))
        raise


def _search(root: Path) -> Models:
    names = frozenset(project.names(root))
    texts = {name: text for name in names if (text := project.text(root, name)) is not None}
    with suppress(ProvisionError):  # a file with a base is not valid Python: what env.py imports is known to be
        return bases.find(texts, names)[0]
    return Models()


def _advise(error: EmptyModelsError, models: Models, env: str) -> None:
    modules = list(models.tables)
    shown = [f"the module {each} has tables" for each in modules[:_SHOWN]]
    more = [f"and {len(modules) - _SHOWN} more"] if len(modules) > _SHOWN else []
    error.evidence = (*error.evidence, *shown, *more)
    metadata = [f"{each.module}.{each.metadata}" for each in models.bases]
    given = metadata[0] if len(metadata) == 1 else f"[{', '.join(metadata)}]"
    error.next_step = f"in {env}: `import {', '.join(modules[:_SHOWN])}`, and `target_metadata={given}`"
