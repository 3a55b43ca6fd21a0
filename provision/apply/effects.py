"""Effect → the world: one method for each kind of effect, and what has to be kept between them."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import partial, singledispatchmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision import alembic
from provision.apply.starting import TIMEOUT, Starting
from provision.errors import (
    ProvisionError,
    RefusedError,
    StepFailedError,
    UnavailableError,
    UnknownRevisionError,
    command,
)
from provision.kinds import login
from provision.model import MAINTENANCE, Effect, Endpoint, Plan, Progress, Step, effects, starts_server
from provision.model.value import replace
from provision.runtimes import server_log
from provision.system import driver_errors, files, statements
from provision.system.postgres import UNLOGGED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provision.alembic import Child, Graph, Location, Migrated, MigrationEvent, Read
    from provision.apply.cluster import Acting
    from provision.observe.outside import World
    from provision.spec.model import Migrations
    from provision.system.engine_calls import Engine
    from provision.system.fence import Fence

# As one program: to enter a container takes as long as all of this.
_AND_SYNC = ("sh", "-c", '"$@" && { sync -f "$PGDATA" || sync; }', "sh")
_SYNC = "COPY (SELECT) TO PROGRAM 'cat >/dev/null; sync -f . || sync'"
_PSQL = ("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={MAINTENANCE}")
_NO_ROOM = "No space left on device"


class Performer:
    """Performs the effects of one run in one world."""

    def __init__(self, world: World, progress: Progress, *, lock_timeout: float = TIMEOUT) -> None:
        self.world = world
        self.migrated: Migrated | None = None
        """What the last migration did."""
        self.failovers = 0
        """How often a server was waited for that can lack what was done before."""
        self.reads: dict[str, Read | None] = {}
        """What the code of each tree that ran has read; None where that is not known."""
        self.ended: list[str] = []
        """The sessions that were ended for a copy of a database, or another name of it, in words."""
        self.unsaved = ""
        """Why the golden that the user wants was not saved."""
        self.ran: list[tuple[str, str, float]] = []
        """The tree, the id and the seconds of each revision that ran."""
        self.tenants: list[dict[str, Any]] = []
        """What became of the tenants of each tree that has some."""
        self._progress = progress
        self._engine: Engine | None = None
        self._children: dict[str, Child] = {}
        self._has_named_user = False
        self._starts = True
        self._fence: Fence | None = None
        self._starting = Starting(lambda: self.engine, self.perform, progress, lock_timeout)

    def move_to(self, world: World) -> Performer:
        """Go on in the same world as it was seen later."""
        self.world = world
        return self

    def prepare(self, plan: Plan) -> None:
        """Get ready for the steps of a round."""
        self._starts = starts_server(step for step in plan.steps if step.effects)
        self.start_children(plan)

    def start_children(self, plan: Plan) -> None:
        """Start what takes long to load and will be needed: while the server comes up, Alembic is imported."""
        for step in plan.steps:
            for effect in step.effects:
                if isinstance(effect, effects.Migrate) and effect.name not in self._children:
                    tree = self._declared(effect.name)
                    if not tree.command:
                        _, location = self._place(effect.name)
                        self._children[effect.name] = alembic.Child.start(tree, location.cwd, ahead=location.versions)

    def _load_what_follows(self) -> None:
        """Import what is needed as soon as the server runs."""
        from provision.golden import saving  # noqa: F401
        from provision.system import libpq, readiness  # noqa: F401

        libpq.load()
        if self._children:
            _ = alembic.migrate

    def begin(self, step: Step) -> None:
        """Before a step that starts the server, keep other runs off its data.

        Raises:
            ProvisionError: another server has what it takes.
        """
        self._starting.begin(step, self.world.site)

    def close(self) -> None:
        """End what was started early and not needed, and let go whom we held back."""
        self._starting.release()
        if self._fence is not None:
            self._fence.close()
            self._fence = None
        while self._children:
            with self._children.popitem()[1]:
                pass  # it ends, and its log is closed

    @property
    def engine(self) -> Engine:
        """The engine that the world was seen with."""
        if self._engine is None:
            from provision.system.engine_calls import Engine

            self._engine = Engine(self.world.look.address, self.world.look.reader.program, self._load_what_follows)
        return self._engine

    @property
    def containers(self) -> tuple[str, ...]:
        """The ids of the containers that were made."""
        return tuple(self._engine.made) if self._engine is not None else ()

    @property
    def endpoint(self) -> Endpoint:
        """Where the server is reached: where it will be, or where it is now if it is not started in this round."""
        site, password = self.world.site, self.world.inputs.password
        return (None if self._starts else site.endpoint(password)) or site.target(password)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Make an error with its evidence of what the system or the server says within the block.

        Raises:
            ProvisionError: something failed, and what helps.
        """
        try:
            yield
        except ProvisionError as failure:
            self._advise(failure)
            raise
        except OSError as error:
            if error.filename is None:
                raise
            path = Path(os.fsdecode(error.filename))
            raise files.failure(error, f"{path} cannot be used", path) from error
        except Exception as error:
            found = driver_errors.failure(error)
            if found is None:
                raise
            self._advise(found)
            raise found from error

    def _advise(self, failure: ProvisionError) -> None:
        """Say what became of a server of ours that went away or had no room for its data, and what helps."""
        site = self.world.site
        if isinstance(failure, StepFailedError) and any(_NO_ROOM in line for line in failure.evidence):
            failure.next_step = f"make room for the data ({site.status.data}), then: " + command("apply")
        if failure.server_is_gone and site.is_ours:
            with suppress(ProvisionError):  # the next look reports an engine that is gone, too
                end = site.explain_end()
                failure.evidence = (*failure.evidence, *end.evidence)
                failure.next_step = end.next_step or failure.next_step

    @singledispatchmethod
    def perform(self, effect: Effect) -> None:
        """Perform one effect.

        Raises:
            ProvisionError: it failed, with the evidence.
        """
        message = f"there is no way to perform {type(effect).__name__}"
        raise NotImplementedError(message)

    @perform.register
    def _(self, effect: effects.WriteFile) -> None:
        text = effect.content if isinstance(effect.content, str) else effect.content.reveal()
        files.write_atomically(effect.path, text, effect.mode)

    @perform.register
    def _(self, effect: effects.MakeDirectory) -> None:
        if effect.record is None:
            files.make_directory(effect.path, effect.mode)
        else:
            files.make_own_directory(effect.path, effect.mode, effect.record)

    @perform.register
    def _(self, effect: effects.RemovePath) -> None:
        files.remove(effect.path, kept=effect.kept)

    @perform.register
    def _(self, effect: effects.CloseTunnel) -> None:
        from provision.system import lasting_tunnel

        lasting_tunnel.close(effect.home)

    @perform.register
    def _(self, effect: effects.CopyPath) -> None:
        if effect.trees:
            files.copy_trees(effect.source, effect.path, effect.trees)
        else:
            files.copy(effect.source, effect.path)

    @perform.register
    def _(self, effect: effects.MovePath) -> None:
        files.move(effect.source, effect.path, if_there=effect.if_there)

    @perform.register
    def _(self, effect: effects.ServerCall) -> None:
        from provision.system import servers

        if effect.operation == "start" and effect.user is not None and not self._has_named_user:
            self._has_named_user = True
            self._progress.note(
                f"the server runs as the system user {effect.user!r}: PostgreSQL refuses to run as root"
            )
        act = partial(servers.perform, effect)
        if effect.operation == "initialise":
            from provision.system import initdb

            self._progress.detail("initialising the data directory")
            act = partial(initdb.initialise, effect, self.world.inputs.password, self._load_what_follows)
        elif effect.operation == "copy":
            from provision.golden import embedded

            act = partial(embedded.copy, effect)
        self._starting.perform(effect, self.world.site, act)

    @perform.register
    def _(self, effect: effects.SaveGolden) -> None:
        from provision.golden import saving

        why = effect.refused
        if not why:
            self._progress.detail("saving a golden")
            try:
                saving.save(self.world, effect, self.perform)
            except ProvisionError as error:
                why = error.sentence
        if effect.asked:
            self.unsaved = why
        elif why:
            self._progress.detail(f"no golden is saved: {why}")

    @perform.register
    def _(self, effect: effects.EngineCall) -> None:
        act = partial(self.engine.perform, effect, self._progress.detail)
        self._starting.perform(effect, self.world.site, act)

    @perform.register
    def _(self, effect: effects.CheckData) -> None:
        from provision.runtimes.docker import data_contents
        from provision.system.mounted import Mounted

        look = self.world.look
        try:
            read, mounted = data_contents.reader(look, effect), Mounted(self.engine, effect.container, effect.target)
            data_contents.check(self.world.spec, effect, read, mounted.entries)
        except RefusedError:
            self.engine.perform(effects.EngineCall("remove_container", effect.container), self._progress.detail)
            raise

    @perform.register
    def _(self, effect: effects.ChangeDirectory) -> None:
        self.engine.change_directory(effect)

    @perform.register
    def _(self, effect: effects.ReadSettings) -> None:
        from provision.system import catalogue

        catalogue.read(effect, self.engine if effect.image else None)
        catalogue.remember(self.world.spec, effect.identity)

    @perform.register
    def _(self, effect: effects.RunProgram) -> None:
        from provision.system import programs

        programs.run(effect, lambda: self.engine)

    @perform.register
    def _(self, effect: effects.CompareOutput) -> None:
        from provision.system import programs

        programs.compare(effect, lambda: self.engine)

    @perform.register
    def _(self, effect: effects.HoldWrites) -> None:
        from provision.system.fence import Fence

        if self._fence is None:
            self._fence = Fence(self._reached)
        hold = self._fence.hold_large_objects if effect.large_objects else self._fence.hold
        for each in effect.databases:
            hold(each)

    @perform.register
    def _(self, effect: effects.EndSessions) -> None:
        del effect
        assert self._fence is not None  # noqa: S101  # no step has it that does not hold writers first
        self._fence.end_sessions()

    @perform.register
    def _(self, effect: effects.CopyDatabase) -> None:
        from provision.system import database_copy

        new = database_copy.New(effect.name, effect.owner, effect.comment, closed=True)
        done = database_copy.copy(self.endpoint, effect.source, new)
        self.ended += done.sessions
        for each in done.left:
            self._progress.note(f"the server refused a setting of the copy of {effect.source}: {each}")

    @perform.register
    def _(self, effect: effects.RenameDatabases) -> None:
        from provision.system import database_copy

        self.ended += database_copy.rename(self.endpoint, effect.renames, *effect.statements)

    @perform.register
    def _(self, effect: effects.DumpDatabase) -> None:
        from provision.system import dumps

        at = self._reached
        dumps.dump(at, effect, lambda: self.engine, lambda: self._check_rows(effect.revisions, at, effect.database))

    @perform.register
    def _(self, effect: effects.RestoreDump) -> None:
        from provision.system import dumps

        at = self._reached
        left = dumps.restore(
            at, effect, lambda: self.engine, lambda: self._check_rows(effect.revisions, at, effect.name)
        )
        for each in left:
            self._progress.note(f"the server refused a setting of the database {effect.original}: {each}")

    @property
    def _reached(self) -> Endpoint:
        """Where a server that runs is reached, also where this round was not prepared to start one."""
        return self.world.site.endpoint(self.world.inputs.password) or self.endpoint

    def _check_rows(self, wanted: Mapping[str, tuple[str, ...]], at: Endpoint, database: str) -> None:
        """Compare the version tables of a database with what they should have.

        Raises:
            StepFailedError: a tree is at other revisions.
        """
        for tree in self.world.spec.migrations:
            if tree.name in wanted:
                graph, location = self._place(tree.name)
                there = alembic.Tree(self.world.spec, replace(tree, database=database), graph, location)
                rows, due = alembic.applied_rows(there, at), wanted[tree.name]
                if set(rows) != set(due):
                    raise StepFailedError(
                        f"{tree.name} is at another revision than it should be in {database!r}",
                        evidence=[f"{' '.join(rows) or 'none'}, and not {' '.join(due) or 'none'}"],
                        next_step=command("status"),
                    )

    @perform.register
    def _(self, effect: effects.CopyCluster) -> None:
        from provision.system import cluster_copy

        cluster_copy.copy(effect.source, effect.folder, effect.record)

    @perform.register
    def _(self, effect: effects.ExchangeClusters) -> None:
        from provision.system import cluster_folder

        cluster_folder.exchange(effect.data, effect.folder, effect.about)

    @perform.register
    def _(self, effect: effects.RunSql) -> None:
        statements.execute(self.endpoint, effect.database, effect.statements)

    @perform.register
    def _(self, effect: effects.RunInTransaction) -> None:
        with self.transaction(effect) as run:
            run(effect)

    @contextmanager
    def transaction(self, effect: effects.RunInTransaction) -> Iterator[Callable[[effects.RunInTransaction], None]]:
        """Open the transaction that an effect begins; what it gives runs this effect and others in it."""
        from provision.apply.transactions import transaction

        with self.explained(), transaction(self.endpoint, effect, self._progress.note) as run:
            yield run

    @perform.register
    def _(self, effect: effects.RunLocalSql) -> None:
        script = login.with_verifier(effect.script, effect.password)
        if effect.container is None:
            from provision.system import servers

            servers.local_sql(effect, script)
            return
        if effect.known is not None:
            at = replace(self.endpoint, user=effect.user, password=effect.known)
            if statements.run_unlogged(at, MAINTENANCE, script, *([_SYNC] if effect.sync else [])):
                return
        said: list[str] = []
        for user in (effect.user, *effect.others):
            psql = (*_PSQL, f"--username={user}")
            argv = ("env", f"PGOPTIONS={UNLOGGED}", *(_AND_SYNC if effect.sync else ()), *psql)
            code, output = self.engine.execute(effect.container, argv, script)
            if code == 0:
                return
            said += output.splitlines()[-3:]
        raise StepFailedError(
            f"the server's own socket in the container {effect.container!r} refuses the change",
            evidence=said,
            next_step="write the superuser's name as `server.credentials.user`; "
            f"{self.engine.program} exec -it {effect.container} psql -U NAME shows whether it is that",
        )

    @perform.register
    def _(self, effect: effects.ReloadSettings) -> None:
        from provision.system.readiness import reload

        reload(self.endpoint, MAINTENANCE, effect.expected)

    @perform.register
    def _(self, effect: effects.PatchCluster) -> None:
        self._cluster.patch(effect)

    @perform.register
    def _(self, effect: effects.RestartCluster) -> None:
        self._cluster.restart(effect)

    @property
    def _cluster(self) -> Acting:
        from provision.apply.cluster import Acting

        api = self.world.cluster
        assert api is not None  # noqa: S101  # nothing plans steps of a cluster without one
        return Acting(self.world, api, self.endpoint, self._progress.detail)

    @perform.register
    def _(self, effect: effects.WaitReady) -> None:
        from provision.system import readiness

        if not self.world.site.is_ours:
            try:
                readiness.wait_for_foreign(self.endpoint, effect.timeout)
            except UnavailableError as error:
                if self.world.cluster is not None:
                    self._cluster.explain(error)
                raise
            self.failovers += 1
            return
        site = self.world.site
        try:
            readiness.wait(
                self.endpoint,
                effect.timeout,
                database=MAINTENANCE,
                watch=site.watch(),
                tell=self._phase,
                log_command=site.log_command,
            )
        except StepFailedError:
            for each in site.stop_restarts():
                self.perform(each)
            raise

    @perform.register
    def _(self, effect: effects.Migrate) -> None:
        tree, place = self._declared(effect.name), self._place(effect.name)
        at = alembic.located(tree, self.world.site.directly(self.endpoint))
        self._wait_for_standbys(tree, at)
        session = alembic.entered(self.world.spec, tree, at)
        manner = alembic.Manner(self._children.pop(effect.name, None), session=session)
        self._progress.detail("running the program" if tree.command else "loading env.py")
        try:
            self.migrated = alembic.migrate(tree, place, at, effect, partial(self._tell, effect.name), manner)
            self.failovers += self.migrated.failovers
            self.reads[tree.name] = None if tree.name in self.reads else self.migrated.read
        except UnknownRevisionError as error:
            self.world.explain(error)
            raise

    @perform.register
    def _(self, effect: effects.MigrateTenants) -> None:
        from provision.tenants.following import Following

        tree, place = self._declared(effect.name), self._place(effect.name)
        self._wait_for_standbys(tree, self.endpoint)
        followed, self.reads[tree.name] = Following(tree, self._progress), None
        try:
            followed.run(self.world.spec, place, self.endpoint, effect)
        finally:
            self.ran += followed.revisions
            self.tenants.append(followed.summary)

    def _declared(self, name: str) -> Migrations:
        return next(each for each in self.world.spec.migrations if each.name == name)

    def _place(self, name: str) -> tuple[Graph, Location]:
        return self.world.trees[name], self.world.trees.location(name)

    def _wait_for_standbys(self, tree: Migrations, at: Endpoint) -> None:
        if (tree.max_replica_lag is not None or tree.require_synchronous) and not self.world.site.is_ours:
            from provision.apply import replication

            replication.wait(self.world, tree, at, self._progress.detail)

    @perform.register
    def _(self, effect: effects.RunSeed) -> None:
        from provision.seeds import running

        world = self.world
        source = world.inputs.seeds[effect.name]  # type: ignore[index]  # the step is about one of them
        job = running.Job(world.spec, source, world.trees, self.endpoint, self._progress.detail, self._progress.note)
        running.run(job, effect)

    def _phase(self, line: str) -> None:
        """Pass on what the server is doing, by the last line of its log."""
        if said := server_log.startup_phase(line):
            self._progress.detail(said)

    def _tell(self, tree: str, event: MigrationEvent) -> None:
        if event.what == "done":
            self.ran.append((tree, event.subject, event.seconds))
        tell = self._progress.note if event.what in {"invalid", "unrecorded", "resumed"} else self._progress.detail
        tell(str(event))
