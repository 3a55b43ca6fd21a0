"""The public Python API: one environment, as its spec declares it. ``docs/python.md`` shows it with examples.

Every method looks at the world again. No method changes the variables, signal handlers or directory of the process, so
environments can be used in several threads, and within a running event loop.
"""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from provision import alembic
from provision.api import examine, schema
from provision.declared import Declared
from provision.errors import UsageError, command
from provision.model import Endpoint, File, Outcome, Plan, Progress, Result, Status, Step, Wishes
from provision.model.value import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from provision.alembic import Checked, Decided, Migrated, Script, Tree
    from provision.apply import Move
    from provision.backups.kept import Backup
    from provision.clones import Clone, Listed
    from provision.export.tunnels import Open
    from provision.insight import Access
    from provision.insight.importing import Imported
    from provision.insight.lint import Findings
    from provision.insight.tables import Table
    from provision.kinds import Look
    from provision.observe import Survey
    from provision.observe.history import PastRun
    from provision.observe.outside import Log, World
    from provision.review import Review
    from provision.reviewed import Reviewed
    from provision.snapshots.kept import Kept
    from provision.spec.model import Spec
    from provision.verification import Verification

__all__ = ["LOCK_TIMEOUT", "Environment", "Rendered", "examine", "schema"]

LOCK_TIMEOUT = 60.0
"""How long to wait for another run that changes the same environment, in seconds."""


class Rendered(NamedTuple):
    """The rendered files of a spec, the paths of those that were written, and what is not known of them."""

    files: tuple[File, ...]
    written: frozenset[Path]
    unknown: tuple[str, ...]


class Environment(Declared):
    """The server, its settings and its migrations that one spec declares.

    Errors are those of :mod:`provision.errors`.
    """

    def survey(self, *, runtime: str | None = None, **wishes: Any) -> Survey:
        """Look at everything and plan: what is declared, what is there, and the plan that leads there.

        ``runtime`` takes the place of what the spec says; the other arguments are the options of ``provision plan``:
        ``no_restart``, ``restart_cluster``, ``reset_overrides``, ``data``, ``take_ownership``, ``seed``, which are
        false without being said, and ``golden``: have new data saved as one when all is made; False: made without one.
        ``allow_downgrade`` is as in the spec. ``tenants`` are the only ones of the migrations that count, and
        ``without`` those that do not.

        Raises:
            UnavailableError: no engine answers.
            RefusedError: the plan would cost data, or disturb what is not ours.
        """
        return self._survey(runtime, **wishes)

    def survey_to_apply(self, *, runtime: str | None = None, **wishes: Any) -> Survey:
        """Do the same as :meth:`survey`, and load meanwhile what :meth:`apply` will need."""
        return self._survey(runtime, load=_load_apply, **wishes)

    def _survey(
        self,
        runtime: str | None,
        *,
        load: Callable[[str], object] | None = None,
        allow_downgrade: bool = False,
        tenants: Sequence[str] = (),
        without: Sequence[str] = (),
        **asked: Any,
    ) -> Survey:
        from provision.observe import outside, survey

        wishes = Wishes(**asked)
        with self.context():
            spec = _of_tenants(self.spec, tenants, without)
            if allow_downgrade:
                trees = [replace(each, allow_downgrade=True) for each in spec.migrations]
                spec = replace(spec, migrations=tuple(trees))
            outside.require_whole(spec)
            return _backed_up(_offered(survey(spec, runtime=runtime, wishes=wishes, load=load)))

    def plan(self, **options: Any) -> Plan:
        """Say what :meth:`apply` would do, and why; ``options`` and errors are those of :meth:`survey`."""
        return self.survey(**options).plan

    def apply(
        self,
        survey: Survey | None = None,
        *,
        progress: Progress | None = None,
        lock_timeout: float = LOCK_TIMEOUT,
        snapshot: bool = False,
        reviewed: Reviewed | None = None,
        **options: Any,
    ) -> Result:
        """Make the server what the spec says. A result without outcomes: there was nothing to do.

        A ``survey`` that was made before saves the first look; else ``options`` are those of :meth:`survey`.
        With ``snapshot``, a database is saved before revisions that destroy data in it. With a ``reviewed`` plan
        (``provision.reviewed.Reviewed.read``), whose options count, nothing is done that it does not have.

        Raises:
            ProvisionError: a step failed, was refused, or the world does not converge.
            LockedError: another run holds the environment for longer than ``lock_timeout`` seconds.
        """
        began = time.monotonic()
        first = survey or self.survey_to_apply(**{**options, **(reviewed.options if reviewed else {})})
        with self.context():
            if first.plan.is_empty and not first.wishes.golden:
                return _nothing_done(first, began)
            from provision.apply import converge

            if reviewed is not None:
                reviewed.insist(first)
            saved = self._saved(first, progress or Progress()) if snapshot else Result((), 0.0)
            how: dict[str, Any] = {"lock_timeout": lock_timeout, "reviewed": reviewed, "adding": _backed_up}
            with self._saying_how_to_go_back():
                done = converge(first, progress=progress or Progress(), **how)
            outcomes, notes = (*saved.outcomes, *done.outcomes), (*saved.notes, *done.notes)
            return replace(done, outcomes=outcomes, notes=notes, seconds=time.monotonic() - began)

    def copy_main(self, *, progress: Progress | None = None) -> Result:
        """Fill this environment, which has to be new, with the data of the main checkout's, in a linked Git worktree.

        It is what ``apply --from main`` does before it applies. A server that runs is dumped; else its data is copied.

        Raises:
            UsageError: this is no linked worktree, or shares the main checkout's environment.
            RefusedError: there is data already, or none to copy, or it does not fit.
            ProvisionError: a step failed; what was copied was removed.
        """
        from provision import from_main
        from provision.environ import OWN_NAME

        with self.context():
            if (path := self.spec.main_path) is None:
                raise UsageError(
                    "`--from main` is for a linked Git worktree with an environment of its own",
                    evidence=["a bare repository has no main checkout"] if self.spec.plain_name else [],
                    next_step=command("apply"),
                )
            environ = {each: text for each, text in self._variables.items() if each != OWN_NAME}
            main = Environment(path, environ=environ)
            return from_main.copy(self.spec, main.spec, progress=progress or Progress())

    def adopt(self) -> None:
        """Let the next apply take over what was made under the same name in a directory that is gone."""
        from provision.apply.caches import adopt

        with self.context():
            adopt(self.spec)

    def overview(self) -> Survey:
        """Look at everything as far as it can be seen; why there is no plan is the survey's ``refusal``.

        Raises:
            UnavailableError: no engine answers.
        """
        from provision.observe import overview

        with self.context():
            return overview(self.made)

    def status(self) -> Status:
        """Say what runs, where, and at which revisions; errors as in :meth:`overview`."""
        return self.overview().status

    def verify(self, *, tenants: Sequence[str] = (), without: Sequence[str] = ()) -> Verification:
        """Compare everything that is declared with what is there, field by field; arguments as in :meth:`survey`.

        Raises:
            UnavailableError: no engine answers.
        """
        from provision.observe import survey
        from provision.verification import verification

        with self.context():
            return verification(survey(_of_tenants(self.spec, tenants, without), refusing=False))

    def history(self, most: int = 10) -> tuple[PastRun, ...]:
        """Return the last runs that changed something, or failed on the way; the newest first.

        Raises:
            UnavailableError: no server runs.
        """
        from provision.observe.history import read

        with self.context():
            return read(self.made, most)

    def review(self, *, asked: Collection[str] = (), tell: Callable[[str], None] = lambda _: None) -> Review:
        """Look at everything that the page of ``provision report`` shows, and change nothing.

        ``asked`` are the slow things, which are done in scratch databases: ``trace`` and ``laws``; ``tell`` hears when
        they begin.

        Raises:
            UnavailableError: no engine answers.
        """
        from provision.review import review

        with self.context():
            return review(self.made, frozenset(asked), tell)

    @property
    def endpoint(self) -> Endpoint:
        """Where the server listens and how to log in, as :meth:`login` says; looked up at each use."""
        return self.login()

    @property
    def superuser(self) -> Endpoint:
        """Where the server itself listens and how the superuser logs in; errors as in :meth:`login`."""
        return self.login(superuser=True, direct=True)

    def login(
        self,
        *,
        role: str | None = None,
        superuser: bool = False,
        database: str | None = None,
        lasting: bool = False,
        direct: bool = False,
    ) -> Endpoint:
        """Say where the server listens and how to log in.

        That is as the role that migrates the database (``migrations.as``), if one does, else as the superuser; or as
        another declared ``role``, or to another declared ``database``. Where ssh leads to the engine, it is the port of
        a tunnel that ends with this process; ``lasting``: the one of the tunnel that :meth:`open_tunnel` opens. Where
        the spec has a pooler's address, it is that one; ``direct``: the server's own (``server.direct``).

        Raises:
            UnavailableError: no server runs, or no tunnel stays open.
            UsageError: the spec has no such database, or no such role that logs in.
            RefusedError: its data is only a part of the main checkout's, of which a copy was interrupted.
            ProvisionError: the password is not known, or was lost.
        """
        from provision.observe import outside
        from provision.observe.logins import Choice, endpoint

        with self.context():
            spec = self._having(database)
            outside.require_whole(spec)
            found = endpoint(spec, Choice(role, superuser, database, lasting, direct))
            found.password.reveal()  # here, where the variables are those of the environment
            return found

    def url(
        self,
        *,
        driver: str | None = None,
        role: str | None = None,
        superuser: bool = False,
        database: str | None = None,
        direct: bool = False,
    ) -> str:
        """Return the connection URL with its password, as a driver wants it: ``asyncpg``, ``jdbc``, ``pgx`` ….

        The other arguments, and errors, are those of :meth:`login`; a ``driver`` that is not known is a UsageError.
        """
        return self.login(role=role, superuser=superuser, database=database, direct=direct).url(driver=driver)

    def variables(
        self, named: Mapping[str, str] = MappingProxyType({}), *, driver: str | None = None, **choice: Any
    ) -> dict[str, str]:
        """Return the login as variables, the password in clear: ``DATABASE_URL``, and libpq's ``PGHOST``, ``PGPORT`` ….

        ``named`` are more of them, each with the driver whose URL it gets, or ``host``, ``port``, ``user``,
        ``password``, ``database``. ``choice`` and errors are those of :meth:`login`.
        """
        from provision import export

        at = self.login(**choice)
        with self.context():
            return export.variables(at, named, driver)

    def open_tunnel(self) -> Open:
        """Have a tunnel to a server whose engine is reached by ssh stay open, also when this process has ended.

        Raises:
            UnavailableError: no server runs, or ssh cannot log in.
        """
        from provision.export import tunnels

        with self.context():
            return tunnels.open_(self.made)

    def close_tunnel(self) -> bool:
        """End the tunnel that stays open; False: none did."""
        from provision.export import tunnels

        with self.context():
            return tunnels.close(self.made)

    def execute(self, argv: Sequence[str], given: Mapping[str, str]) -> NoReturn:
        """Replace this process by a program that has the variables of this environment, and those that are ``given``.

        Raises:
            UsageError: there is no such program.
            ProvisionError: it cannot be run.
        """
        from provision.export import acting

        with self.context():
            acting.execute(argv, given)

    def start(self, *, progress: Progress | None = None) -> Result:
        """Start the server that was stopped.

        Raises:
            UnavailableError: there is none.
        """
        return self._move("start", progress, must_run=True)

    def stop(self, *, progress: Progress | None = None) -> Result:
        """Stop the server, and keep everything."""
        return self._move("stop", progress)

    def restart(self, *, progress: Progress | None = None) -> Result:
        """Stop the server and start it again.

        Raises:
            UnavailableError: there is none.
        """
        return self._move("restart", progress, must_run=True)

    def destruction(self, *, data: bool = False) -> Plan:
        """Say what :meth:`destroy` would do."""
        from provision.apply import destruction
        from provision.observe import outside

        with self.context():
            own = destruction(self.made, data=data)
            if not (data and self.made.backs_up and any(step.destroys for step in own.steps)):
                return own
            from provision.backups import before

            world = outside.world(self.made)
            return replace(own, steps=(*before.of_destruction(world), *own.steps), remarks=before.left_out(world))

    def destroy(self, *, data: bool = False, progress: Progress | None = None) -> Result:
        """Remove the server; its data only with ``data``. It asks no one."""
        from provision.apply import destroy

        with self.context():
            first = self._last_backup(data=data)
            return destroy(self.made, data=data, progress=progress or Progress(), first=first)

    def _last_backup(self, *, data: bool) -> Callable[[World], Sequence[Step]]:
        """Return what makes the backups before the data goes away."""
        if not data or not self.made.backs_up:
            return lambda _: ()
        from provision.backups import before

        return before.of_destruction

    def snapshot(
        self, name: str, *, database: str | None = None, whole: bool = False, progress: Progress | None = None
    ) -> Result:
        """Save the declared databases under a name, or one of them. Sessions in them are ended, which the notes name.

        ``whole``: save the cluster with all databases and roles, for which the server stops and starts.

        Raises:
            RefusedError: there is a snapshot of that name, or no room; the server is external.
            UnavailableError: no server runs.
        """
        return self._snapshot("save", progress, name, database, is_whole=whole)

    def snapshots(self, *, database: str | None = None) -> tuple[Kept, ...]:
        """Return the snapshots, the newest first; errors as in :meth:`snapshot`."""
        from provision.snapshots import listing

        with self.context():
            return listing(self.made, database).snapshots

    def restore(
        self, name: str, *, database: str | None = None, whole: bool = False, progress: Progress | None = None
    ) -> Result:
        """Put a snapshot in the place of the databases that it is of, or of the ``whole`` cluster. It asks no one.

        What it replaces is kept until the next restore or reset. Errors as in :meth:`snapshot`.
        """
        return self._snapshot("restore", progress, name, database, is_whole=whole)

    def reset(self, *, database: str | None = None, progress: Progress | None = None) -> Result:
        """Make the declared databases again, empty, or one of them; then do what a first apply does. It asks no one.

        What it replaces is kept until the next restore or reset. Errors as in :meth:`apply`.
        """
        return self._snapshot("reset", progress, database=database)

    def backup(
        self, *, database: str | None = None, output: str | None = None, progress: Progress | None = None
    ) -> tuple[Backup, ...]:
        """Write a dump of each declared database, or of one, prove it, and return what was made; readers do not wait.

        ``output`` is the file of one, which ends in ``.dump``, where Git ignores it; else they are in ``.provision/``.

        Raises:
            UnavailableError: no server runs.
            RefusedError: there are no client programs, or there is no room.
        """
        from provision import backups
        from provision.backups.making import made

        with self.context():
            spec = self.spec
            done = backups.carry_out(
                spec, lambda: backups.make(spec, database, output), progress=progress or Progress()
            )
            return tuple([backups.kept.read(each) for each in made(done.outcomes)])

    def backups(self) -> tuple[Backup, ...]:
        """Return the backups in ``.provision/``, the newest first; no server is asked."""
        from provision.backups import kept

        with self.context():
            return kept.listing(self.made)

    def restore_backup(
        self, backup: str | os.PathLike[str], *, database: str | None = None, progress: Progress | None = None
    ) -> Result:
        """Prove a backup, and put it in the place of its database, or of another ``database``. It asks no one.

        What it replaces is kept until the next restore or reset. ``backup`` is a path, or a name in ``.provision/``.

        Raises:
            RefusedError: it is not whole, or cannot be restored here.
            UnavailableError: no server runs.
            UsageError: there is no such backup, or database.
        """
        from provision import backups

        with self.context():
            spec, name = self.spec, os.fspath(backup)
            survey = partial(backups.restoring, spec, name, database)
            return backups.carry_out(spec, survey, progress=progress or Progress())

    def tree(self, name: str | None = None, *, tenant: str | None = None) -> Tree:
        """Read the Alembic tree of this name; without a name, the only one. With a ``tenant``, the tree of that one.

        Raises:
            UsageError: there is no such tree, or it is not clear which one is meant.
        """
        with self.context():
            found = alembic.choose(self.spec, name, tenant)
            if tenant is None:
                return found
            from provision.tenants.asking import refuse_stranger

            (declared,) = [each for each in self.spec.migrations if each.name == found.name]
            return replace(found, refuse_stranger=partial(refuse_stranger, self.spec, declared, tenant))

    def check_files(self, *, since: str | None = None, tree: str | None = None) -> tuple[Checked, ...]:
        """Check the revision files of all trees, or of one; no server is asked and nothing of the project is run.

        ``since`` is a branch, a tag or a commit of Git: none of its revisions may be edited or removed.

        Raises:
            UsageError: there is no such tree, or Git does not have ``since``.
        """
        with self.context():
            return alembic.check_files(self.made, tree, since)

    def migrate(
        self,
        target: str | None = None,
        *,
        tree: str | None = None,
        tenant: str | None = None,
        downgrade: bool = False,
        progress: Progress | None = None,
    ) -> Migrated:
        """Run the revisions up to ``target``; without one, up to the target of the spec.

        With ``downgrade``, undo those beyond it: what they added goes away, with its data. Of a tree with tenants, one
        ``tenant`` is migrated; :meth:`apply` migrates all.

        Raises:
            MigrationsError: the target is not one of the tree's.
            ProvisionError: a revision failed, or no server runs.
        """
        with self.context():
            chosen = self.tree(tree, tenant=tenant)
            move = alembic.downgrade if downgrade else alembic.upgrade
            decided = move(chosen, lambda: self.superuser, target or chosen.declared.target)
            return self.move(self.backed_up(decided), progress)

    def backed_up(self, decided: Decided) -> Decided:
        """Return a move that first makes a backup, where the spec has one before it; errors as in :meth:`backup`."""
        if not self.spec.backs_up or decided.plan.is_empty:
            return decided
        from provision.backups import before
        from provision.observe import outside

        with self.context():
            world = outside.world(self.spec)
            return replace(decided, plan=before.of_move(world, decided.plan, decided.tree.name, decided.rows))

    def move(self, decided: Decided, progress: Progress | None = None) -> Migrated:
        """Carry out an upgrade, a downgrade or a stamp that was decided.

        Raises:
            LockedError: another run holds the environment, or another migration the database.
            ProvisionError: it failed, or another run has migrated in between.
        """
        done = None
        if not decided.plan.is_empty:
            from provision.apply import carry

            with self.context(), self._saying_how_to_go_back():
                done = carry(decided.tree.spec, decided.plan, progress=progress or Progress())
        return done or alembic.Migrated(decided.rows, decided.rows)

    def endpoint_unless_new(self, *evidence: str) -> Endpoint | None:
        """Return where the server is reached; None where there is no data yet.

        Raises:
            UnavailableError: there is data, and no server runs; ``evidence`` says why one is needed.
        """
        from provision.observe.outside import endpoint_unless_new

        with self.context():
            return endpoint_unless_new(self.spec, *evidence)

    def sql(self, survey: Survey) -> list[Script]:
        """Return the SQL of the migrations that a survey plans, a script for each tree; nothing is run."""
        seen = survey.world
        with self.context():
            return list(
                alembic.of_plan(survey.spec, seen.trees, survey.plan, survey.endpoint, is_fresh=seen.site.is_fresh)
            )

    def render(self, *, write: bool = True) -> Rendered:
        """Render the files of the spec, and write those that differ; nothing else is touched."""
        from provision import apply
        from provision.observe import outside
        from provision.system import no_commands

        with self.context():
            files = outside.rendered(self.spec)
            written = apply.write(self.spec.home, files) if write else ()
            return Rendered(files, frozenset(written), no_commands.unknown())

    def logs(self, *, follow: bool = False, tail: int | None = None) -> Log:
        """Return what the server has logged, oldest line first; with ``follow``, lines as they come.

        Raises:
            UnavailableError: there is no server yet.
        """
        from provision.observe.outside import logs

        with self.context():
            return logs(self.made, follow=follow, tail=tail)

    def access(self, *, role: str | None = None, on: str | None = None) -> Access:
        """Say who can use what in the declared databases, and through what; nothing is changed.

        ``role`` is one that the server has, ``on`` an object: ``shop.customers``, ``shop.*``, a schema, a database.

        Raises:
            UnavailableError: no server runs.
            UsageError: the server has no such role, or no such object.
        """
        from provision import insight

        with self._inside() as look:
            return insight.access(look, role=role, on=on)

    def access_lint(self, *, ignored: Sequence[str] = ()) -> Findings:
        """Look for what is dangerous about the roles and privileges of the server, but for the rules to be ``ignored``.

        Raises:
            UnavailableError: no server runs.
            UsageError: there is no such rule.
        """
        from provision import insight
        from provision.insight.lint import lint

        with self._inside() as look:
            return lint(look, insight.databases(look)[0], ignored)

    def imported(self) -> Imported:
        """Return the roles and databases that the server has, as a spec would declare them; nothing is changed.

        Raises:
            UnavailableError: no server runs.
        """
        from provision.insight import importing

        with self._inside() as look:
            return importing.imported(look)

    def tables(self, *, database: str | None = None) -> tuple[str, tuple[Table, ...]]:
        """Return the name of a database, by default the declared one of the server, and its tables.

        Raises:
            UnavailableError: no server runs.
            UsageError: the spec has no such database, or the server does not.
        """
        from provision.insight import tables

        with self._inside() as look:
            return tables.of(look, database)

    def psql(
        self,
        arguments: Sequence[str] = (),
        *,
        role: str | None = None,
        superuser: bool = False,
        database: str | None = None,
    ) -> int:
        """Run psql on a database, on the terminal of this process, and return its exit code.

        ``role``, ``superuser``, ``database``, and errors, are those of :meth:`login`.
        """
        from provision.apply import psql
        from provision.observe.logins import Choice

        with self.context():
            return psql(self._having(database), arguments, Choice(role, superuser, database))

    def clone(self, name: str | None = None, *, progress: Progress | None = None, **choice: Any) -> Clone:
        """Make a database of its own as the spec says: migrated, and without the rows of the declared one.

        The first clone of a set of revisions takes as long as running them, each other one as long as a copy. The
        database is called ``provision_clone_`` and the ``name``, or something random. ``choice`` and errors are those
        of :meth:`login`: ``database`` is the declared one that is meant.

        Raises:
            RefusedError: there is a clone of this name.
        """
        from provision import clones
        from provision.observe.logins import Choice

        with self.context():
            made = clones.clone(self.spec, name, Choice(**choice), progress or Progress())
            made.endpoint.password.reveal()  # here, where the variables are those of the environment
            made.server.password.reveal()
            return made

    def clones(self) -> tuple[Listed, ...]:
        """Return the clones that there are, the oldest first.

        Raises:
            UnavailableError: no server runs.
        """
        from provision import clones

        with self.context():
            return clones.listed(self.spec)

    def kept_clones(self) -> tuple[str, ...]:
        """Return the databases that test runs have kept, in servers of their own."""
        from provision.clones import runs

        with self.context():
            return runs.kept(self.spec)

    def drop_clones(self, names: Sequence[str] | None = None) -> tuple[str, ...]:
        """Drop clones by their names, and return which; without names all, and what test runs have left.

        Raises:
            UsageError: there is no clone of such a name.
            UnavailableError: no server runs.
        """
        from provision import clones

        with self.context():
            return clones.drop_all(self.spec) if names is None else clones.drop(self.spec, names)

    @contextmanager
    def _inside(self) -> Iterator[Look]:
        from provision.observe import outside, server

        with self.context(), server.inside(outside.world(self.spec)) as look:
            yield look

    def _move(self, verb: Move, progress: Progress | None, *, must_run: bool = False) -> Result:
        from provision import apply
        from provision.observe import outside

        with self.context():
            if must_run:
                outside.require_whole(self.made)
            done = apply.move(self.made, verb, progress=progress or Progress())
            if must_run and not done.outcomes:
                outside.world(self.made).require_running()
            return done

    def _snapshot(self, verb: str, progress: Progress | None, *about: Any, **more: Any) -> Result:
        from provision.snapshots import Request, Verb, carry_out

        with self.context():
            request = Request(Verb(verb), *about, **more)
            return carry_out(self.spec, request, progress=progress or Progress())

    def _having(self, database: str | None) -> Spec:
        """Return the spec whose server has a database: a test's is in that of its run."""
        if database is None:
            return self.spec
        from provision.spec.derived import for_tests, slot_of

        return for_tests(self.spec, slot_of(database))

    def _saved(self, seen: Survey, progress: Progress) -> Result:
        from provision.snapshots import save_before

        return save_before(seen, tuple(alembic.destroying(self.sql(seen))), progress=progress)

    def _saying_how_to_go_back(self) -> AbstractContextManager[None]:
        """Return what says in an error which backups were made before."""
        if not self.spec.backs_up:
            return nullcontext()
        from provision.backups import before

        return before.explained(self.spec)


def _load_apply(runtime: str) -> None:
    """Import what makes new data."""
    from provision import golden
    from provision.apply import run  # noqa: F401
    from provision.golden import use  # noqa: F401

    golden.load(runtime)


def _offered(seen: Survey) -> Survey:
    """Return a survey whose plan takes new data from a golden where one fits."""
    if not seen.makes_data:
        return seen
    from provision.golden import use

    return use.offered(seen)


def _backed_up(seen: Survey, outcomes: Sequence[Outcome] = ()) -> Survey:
    """Return a survey whose plan makes backups before what the spec says."""
    if not seen.spec.backs_up or seen.plan.is_empty:
        return seen
    from provision.backups import before

    return before.added(seen, outcomes)


def _nothing_done(seen: Survey, began: float) -> Result:
    from provision.plan import insist

    if seen.world.needs_upkeep:
        from provision.apply.caches import freshen

        freshen(seen.world)
    insist(seen.plan)
    remarks = (*seen.plan.partial, *seen.plan.remarks)
    return Result((), time.monotonic() - began, seen.plan.notes, remarks, seen.login)


def _of_tenants(spec: Spec, only: Sequence[str], without: Sequence[str]) -> Spec:
    """Return a spec for some of the tenants of its migrations.

    Raises:
        UsageError: they have none.
    """
    if not only and not without:
        return spec
    from provision.spec.tenant_choice import chosen

    return chosen(spec, only, without)
