"""The models of ``env.py`` against the database, and what is said where they have no tables.

Metadata without tables matches every database and would drop all of it. It is right in a project that has no models, so
the project's files are searched for some; nothing of them is imported.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from provision.alembic.running import ask as alembic_ask
from provision.alembic.running.errors import EmptyModelsError
from provision.alembic.tree import bases
from provision.alembic.tree.bases import Models
from provision.errors import ProvisionError
from provision.system import project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from provision.alembic.running.ask import Comparison
    from provision.alembic.verbs.tree import Tree
    from provision.model import Endpoint

    Answer = TypeVar("Answer")

_SHOWN = 5


def compare(tree: Tree, endpoint: Endpoint) -> Comparison:
    """Compare the models of ``env.py`` with a database.

    Raises:
        NoModelsError: env.py names no models.
        EmptyModelsError: it names models without tables, and files of the project have some.
        StepFailedError: env.py failed, or went to another database.
        UnavailableError: the server cannot be reached.
    """
    files, others = (tree.declared, tree.graph, tree.location), tree.other_version_tables
    return with_tables(tree, lambda none: alembic_ask.compare(*files, endpoint, others, no_tables=none))


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
