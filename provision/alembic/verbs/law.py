"""One law that a tree keeps or breaks, and what is to be said of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from provision.alembic.running.errors import SharedChangeError

if TYPE_CHECKING:
    from provision.alembic.verbs.tree import Tree
    from provision.errors import ProvisionError

Outcome = Literal["passed", "failed", "not checked"]


@dataclass(frozen=True, slots=True)
class Law:
    """One law, and what became of it.

    ``text`` is the result in a sentence, ``evidence`` what supports it, a line each; ``revision`` is the one that broke
    it, ``path`` its file, and ``next_step`` what to do then.
    """

    name: str
    outcome: Outcome
    text: str
    seconds: float = 0.0
    evidence: tuple[str, ...] = ()
    revision: str | None = None
    path: str | None = None
    next_step: str | None = None


def failed(law: str, tree: Tree, error: ProvisionError, began: float, revision: str | None) -> Law:
    """Return a law that an error broke, or kept from being tried: what was refused breaks none.

    What is applied in the scratch database is nobody's business.
    """
    evidence = tuple(
        [each for each in error.evidence if not each.startswith(("applied now:", "left behind", "committed by"))]
    )
    path = str(tree.graph[revision].path) if revision is not None and revision in tree.graph else None
    refused = isinstance(error, SharedChangeError)
    step = error.next_step if path is None or refused else f"correct {path}"
    outcome: Outcome = "not checked" if refused else "failed"
    return Law(law, outcome, error.sentence, time.monotonic() - began, evidence, revision, path, step)
