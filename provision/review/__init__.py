"""Everything that a review of an environment needs, looked at once: nothing here changes anything.

It is what ``plan``, ``verify``, ``plan --sql``, ``migrate history``, ``lint`` and, where that is asked for, ``lint
--trace`` and ``test`` find, and the tables with their sizes. What one of them cannot do does not end the others: the
reason takes the place of its answer.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from provision import alembic
from provision.errors import MigrationsError, ProvisionError
from provision.insight import tables
from provision.model.value import dataclass, field, replace
from provision.observe import Survey, overview, server
from provision.verification import Verification, verification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provision.alembic import Law, Linted, Script, Trace, Tree
    from provision.insight.tables import Table
    from provision.kinds import Look
    from provision.model import Endpoint
    from provision.observe.outside import World
    from provision.spec.model import Migrations, Spec


@dataclass(frozen=True)
class TreeReview:
    """One tree: where its database is, and what is pending.

    ``tree`` is None where its files are not in order: then ``problem`` says why. ``rows`` are those of the version
    table, None where only a running server knows; ``times`` say when revisions were applied, where that is known.
    ``linted``, ``trace`` and ``laws`` lack what ``without`` gives a reason for, by the names ``sql``, ``lint``,
    ``trace`` and ``laws``.
    """

    declared: Migrations
    database: str
    tree: Tree | None = None
    problem: ProvisionError | None = None
    rows: tuple[str, ...] | None = None
    times: dict[str, str] = field(default_factory=dict)
    scripts: tuple[Script, ...] = ()
    linted: Linted | None = None
    trace: Trace | None = None
    laws: tuple[Law, ...] = ()
    without: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the tree in the spec."""
        return self.declared.name

    @property
    def upgrade(self) -> Script | None:
        """The SQL of what would be run, where it is known; what would be undone is no part of it."""
        return next((each for each in self.scripts if each.rendering is not None and each.upgrade), None)


@dataclass(frozen=True)
class DatabaseReview:
    """The tables of one database, and its size in bytes; ``problem`` says why they could not be read."""

    name: str
    tables: tuple[Table, ...] = ()
    size: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Review:
    """What was found, and when; ``asked`` are the slow things that were wanted: ``trace``, ``laws``."""

    verification: Verification
    trees: tuple[TreeReview, ...]
    databases: tuple[DatabaseReview, ...]
    at: datetime
    asked: frozenset[str] = frozenset()

    @property
    def survey(self) -> Survey:
        """What is declared, what is there, and the plan."""
        return self.verification.survey


def review(spec: Spec, asked: frozenset[str] = frozenset(), tell: Callable[[str], None] = lambda _: None) -> Review:
    """Look at everything; ``tell`` hears what takes its time.

    Raises:
        UnavailableError: no engine answers.
    """
    seen = overview(spec)
    # A tree that is not in order keeps a plan from being made: then the survey is one without trees.
    whole = replace(seen.spec, migrations=seen.spec.migrations or spec.migrations)
    trees = tuple([_tree(seen, whole, each, asked, tell) for each in whole.migrations])
    databases = tuple(_databases(replace(seen.world, spec=whole), seen.endpoint))
    return Review(verification(seen), trees, databases, datetime.now(UTC), asked)


def _tree(
    seen: Survey, spec: Spec, declared: Migrations, asked: frozenset[str], tell: Callable[[str], None]
) -> TreeReview:
    found = TreeReview(declared, spec.database_of(declared))
    try:
        tree = alembic.choose(spec, declared.name)
    except ProvisionError as error:
        return replace(found, problem=error)
    found = replace(found, tree=tree, laws=(alembic.one_head(tree),))
    found = replace(found, rows=_rows(seen, tree, found.without))
    at = seen.endpoint
    if found.rows and at is not None:
        found = replace(found, times=_tried(found, "times", lambda: alembic.applied_with_times(tree, at)[1], {}))
    found = replace(found, scripts=_tried(found, "sql", lambda: _scripts(seen, tree), ()))
    script = found.upgrade
    if script is not None:
        found = replace(found, linted=_tried(found, "lint", lambda: alembic.judged(tree, script), None))
    if script is not None and at is not None and "trace" in asked:
        tell(f"{declared.name}: running what is pending on a scratch copy")
        found = replace(found, trace=_tried(found, "trace", lambda: _traced(at, tree, found.rows or ()), None))
    if "laws" in asked:
        tell(f"{declared.name}: trying the laws of the tree on scratch databases")
        found = replace(found, laws=_tried(found, "laws", lambda: _laws(at, tree), found.laws))
    return found


def _tried(found: TreeReview, what: str, question: Callable[[], Any], otherwise: Any) -> Any:
    """Return an answer; where there is none, note the reason and return something else."""
    try:
        return question()
    except ProvisionError as error:
        found.without[what] = "; ".join([error.sentence, *error.evidence])
        return otherwise


def _rows(seen: Survey, tree: Tree, without: dict[str, str]) -> tuple[str, ...] | None:
    """Return where the database is; None where only a running server knows, or there are many."""
    if tree.declared.tenants is not None:
        return None
    if tree.name in seen.status.revisions:
        return seen.status.revisions[tree.name]
    if seen.endpoint is None:
        return () if seen.world.site.is_fresh else None
    try:
        return alembic.applied_rows(tree, seen.endpoint)
    except ProvisionError as error:
        without["rows"] = error.sentence
        return None


def _scripts(seen: Survey, tree: Tree) -> tuple[Script, ...]:
    """Return the SQL of what is pending; where a plan is refused, of what would be pending without that reason."""
    if seen.refusal is None:
        own = [each for each in seen.plan.steps if (each.address.kind, each.address.name) == (alembic.KIND, tree.name)]
        plan = replace(seen.plan, steps=tuple(own))
        return alembic.of_plan(seen.spec, seen.world.trees, plan, seen.endpoint, is_fresh=seen.world.site.is_fresh)
    if seen.endpoint is None and not seen.world.site.is_fresh:
        return ()
    script = alembic.between(tree, "", lambda: seen.endpoint)
    return (script,) if script.rendering is not None else ()


def _traced(endpoint: Endpoint, tree: Tree, rows: tuple[str, ...]) -> Trace:
    target = alembic.resolve(tree.graph, tree.declared.target, rows)
    return alembic.trace(tree, alembic.scratch_server(tree, lambda: endpoint), rows, target)


def _laws(endpoint: Endpoint | None, tree: Tree) -> tuple[Law, ...]:
    if endpoint is None:
        raise MigrationsError("the laws are tried on scratch databases of the server, and it does not run")
    return alembic.try_laws(tree, alembic.scratch_server(tree, lambda: endpoint), lambda _: None)


def _databases(world: World, endpoint: Endpoint | None) -> Iterator[DatabaseReview]:
    if endpoint is None:
        return
    with ExitStack() as stack:
        try:
            look = stack.enter_context(server.inside(world))
            there = tables.databases(look)
        except ProvisionError as error:
            yield DatabaseReview(world.spec.server.database, problem=error.sentence)
            return
        for name in there:
            yield _database(look, name)


def _database(look: Look, name: str) -> DatabaseReview:
    try:
        return DatabaseReview(name, tables.tables(look, name), tables.size(look, name))
    except ProvisionError as error:
        return DatabaseReview(name, problem=error.sentence)
