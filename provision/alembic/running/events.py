"""What a migration reports while it runs, and what is true on the server after it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from provision.alembic.tree.version_table import LEDGER
from provision.errors import AGAIN, APPLIED, CONTINUES
from provision.model.value import dataclass
from provision.model.words import some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.alembic.running.leftovers import Leftover
    from provision.alembic.tree.graph import Graph

_SHOWN = 5
_LINES = {
    "waiting": "waiting for the migration of {0.subject}",
    "started": "{0.name}",
    "printed": "{0.subject}",
    "blocked": "{0.message} waits for {0.subject}",
    "retrying": "{0.subject} got no lock and was rolled back; again in {0.seconds:g} s",
    "done": "{0.name} ({0.seconds:.2f} s)",
    "nothing": "another run has migrated meanwhile; nothing to do",
    "gone": "{0.subject}",
    "resumed": "{0.subject}",
    "invalid": "{0.subject} is INVALID, and no query uses it; {0.message}",
    "unrecorded": f"the table {LEDGER} cannot record what was in the revision files: {{0.subject}}; "
    "let the role write there, or set `ledger: false` in `migrations`",
}


@dataclass(frozen=True)
class MigrationEvent:
    """Something worth seeing while a tree is migrated; as text, one line.

    ``subject`` is a revision's id, who holds a lock, an index, a line that a program printed, why the ledger could not
    be written, or what became of a server.
    """

    what: Literal[
        "waiting",
        "started",
        "blocked",
        "retrying",
        "printed",
        "done",
        "nothing",
        "invalid",
        "unrecorded",
        "gone",
        "resumed",
    ]
    subject: str = ""
    message: str = ""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The subject and the message."""
        return f"{self.subject}  {self.message}".rstrip()

    def __str__(self) -> str:
        return _LINES[self.what].format(self)


@dataclass(frozen=True)
class Truth:
    """What is so on the server after a failure. ``rows`` is None where it cannot be read."""

    graph: Graph
    rows: Sequence[str] | None
    left: Sequence[Leftover] = ()
    waits: Sequence[str] = ()
    is_asked: bool = True
    """False where nothing was to be changed, so that it does not matter what is applied."""
    committed: Sequence[tuple[str, str]] = ()
    """Statements of revisions (the id first) that are not applied, committed in transactions of their own."""
    server: str = ""
    """The address of the declared server: ``host:port``."""
    database: str = ""
    is_scratch: bool = False
    """Whether it ran on a scratch database, of which nothing remains for the next run."""

    @property
    def lines(self) -> list[str]:
        """What it waited for, what is applied, what was left behind, and how that is removed."""
        if not self.is_asked:
            return []
        if self.rows is None:
            return [*self.waits, "what is applied now cannot be read: the server is gone"]
        applied = [APPLIED + self.graph.describe(row) for row in self.rows] or [f"{APPLIED}nothing"]
        left = [f"left behind, outside a transaction: {each}" for each in self.left]
        clean_up = [f"clean up: {each.clean_up}" for each in self.left]
        return [*self.waits, *applied, *self._committed(), *left, *clean_up]

    def _committed(self) -> list[str]:
        lines = [f"committed by {name} all the same: {statement}" for name, statement in self.committed]
        return some(lines, _SHOWN)

    @property
    def next_step(self) -> str:
        """What to do before the same command is run again."""
        if self.is_scratch or not self.is_asked:
            return AGAIN
        again = AGAIN + CONTINUES
        if self.left:
            return f"remove what was left behind, or a second run collides with it; then {again}"
        return f"undo what was committed, or a second run does it twice; then {again}" if self.committed else again
