"""Runs one seed under the lock of the database's migrations, and notes it in the ledger.

A file is one transaction with its row in the ledger: after a kill both are there, or neither. Nothing that was seen
before we held the lock counts: another run may have done it, or moved the database, while we waited.
"""

from __future__ import annotations

import hashlib
import io
import re
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TextIO

from provision.alembic import CHILD_NAME, LockConnection, lock_connection, read_rows, resolve
from provision.errors import (
    MigrationsError,
    NextStep,
    ProvisionError,
    StepFailedError,
    UnavailableError,
    as_word,
    command,
    translated,
)
from provision.model.value import replace
from provision.model.words import count, short, shown
from provision.seeds import ledger, program, script, sequences, table
from provision.system import driver_errors, postgres, secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import psycopg2.extensions

    from provision.alembic import Graph
    from provision.model import Endpoint
    from provision.model.effects import RunSeed
    from provision.seeds.files import Source
    from provision.spec.model import Migrations, Seed, Spec

_LOCK_TIMEOUT = "30s"
_TIMEOUT = 15 * 60.0
_STATEMENT = 80
_COPY_LINE = r"^COPY [^,]+, line (\d+)"
_TAKEN, _DENIED = "23505", "42501"


class Job(NamedTuple):
    """One seed that is to run; ``at`` is how provision logs in, in any database of the server."""

    spec: Spec
    source: Source
    graphs: Mapping[str, Graph]
    at: Endpoint
    tell: Callable[[str], None]
    note: Callable[[str], None]

    @property
    def seed(self) -> Seed:
        """The entry of the spec."""
        return self.source.seed

    @property
    def again(self) -> NextStep:
        """What to type after a correction."""
        verb = "apply" if self.at.is_ours else "apply --seed"
        return command(verb) + "   (it continues with this seed)"

    @property
    def database(self) -> str:
        """The name of its database."""
        return self.spec.database_of(self.seed)

    @property
    def trees(self) -> list[Migrations]:
        """The migrations of its database."""
        return [each for each in self.spec.migrations if self.spec.database_of(each) == self.database]


def run(job: Job, effect: RunSeed) -> None:
    """Perform one :class:`~provision.model.effects.RunSeed`.

    Raises:
        LockedError: another run was migrating all the time.
        MigrationsError: the database is not at its target any more.
        StepFailedError: the seed failed; nothing of a file is left.
    """
    deadline = time.monotonic() + max([each.timeout for each in job.trees], default=_TIMEOUT)
    here = replace(job.at, database=job.database)
    login = session(job, here)
    connection = lock_connection(job.trees[0], here, login) if job.trees else LockConnection(here)
    with closing(connection) as lock:
        lock.acquire(deadline, lambda holder: job.tell(f"waiting for {holder}"))
        _check_revisions(job, lock)
        if _is_done(job, lock):
            job.tell("another run has done it meanwhile")
            return
        login, writer = lock.settled(login), login.role or login.user
        if refusal := ledger.prepare(lock, lock.write, job.spec.owner_in(job.database), writer):
            raise StepFailedError(
                f"the ledger of seeds, {ledger.TABLE}, cannot be made in {job.database!r}",
                evidence=[refusal, "nothing of the seed ran"],
                next_step="as an administrator: let this login create a schema there, then: " + job.again,
            )
        if job.source.path is None:
            _run_program(job, login, lock, deadline)
            if refusal := lock.write(ledger.note(job.source.name, effect.sha256)):
                raise StepFailedError(f"the program ran, and {ledger.TABLE} cannot note it", evidence=[refusal])
        else:
            _run_file(job, job.source.path, effect, login, lock)


def session(job: Job, here: Endpoint) -> Endpoint:
    """Return how a seed logs in: as its own role, as the migrations of its database, or as the database's owner.

    Raises:
        ProvisionError: the password of its role is not known.
    """
    spec, login, role = job.spec, job.seed.login, None
    if login is None and job.trees:
        login, role = job.trees[0].login, job.trees[0].role
    elif login is None and job.database in spec.databases:
        role = spec.databases[job.database].owner
        if role is not None and role in spec.roles and spec.roles[role].login and secrets.is_known(spec, role):
            login, role = role, None
    if login in (None, here.user):
        return replace(here, role=None if role == here.user else role)
    if not secrets.is_known(spec, str(login)):
        raise secrets.not_known(spec, str(login))
    return replace(here, user=str(login), password=secrets.of_role(spec, str(login)), role=role)


def _check_revisions(job: Job, lock: LockConnection) -> None:
    for tree in job.trees:
        lock.follow(tree)
        rows, graph = read_rows(tree, lock) or (), job.graphs[tree.name]
        if graph.unknown(rows) or graph.pending(rows, graph.version_rows(resolve(graph, tree.target))):
            raise MigrationsError(
                f"another run has migrated {job.database!r} meanwhile, so its seeds did not run",
                evidence=[f"migrations/{tree.name} is at {', '.join(rows) or 'base'} now"],
                next_step=command("apply"),
            )


def _is_done(job: Job, lock: LockConnection) -> bool:
    found = ledger.read(lock)
    entry = None if isinstance(found, ledger.Unreadable) else found.get(job.source.name)
    if entry is None or job.seed.run == "always":
        return False
    return job.seed.run == "once" or entry.sha256 == job.source.sha256


def _run_program(job: Job, login: Endpoint, lock: LockConnection, deadline: float) -> None:
    tree = job.trees[0] if job.trees else None
    runs = program.Program(job.source, tree, login, job.spec.directory, CHILD_NAME, deadline, job.again)
    try:
        program.run(runs, job.tell)
    except BaseException as error:
        try:  # a server does not notice that a program was killed while it runs a statement
            lock.end_all()
        except UnavailableError as lost:
            if lost.server_is_gone and isinstance(error, StepFailedError):
                raise _lost(job, error) from error
        raise


def _lost(job: Job, error: StepFailedError) -> StepFailedError:
    """Return the error for a program whose server went away. It is no transaction, so it is not run again by itself."""
    return StepFailedError(
        "the server went away while the program of a seed ran; what it had committed may be there",
        evidence=error.evidence,
        next_step="see whether the program can run again from its beginning, then: " + job.again,
    )


# --- files


def _run_file(job: Job, path: Path, effect: RunSeed, login: Endpoint, lock: LockConnection) -> None:
    with closing(postgres.connect(login, read_only=False)) as connection, _open(path, effect) as file:
        connection.autocommit = False
        with connection.cursor() as cursor:
            at = _Place(job, path, effect)
            with at.explained():
                cursor.execute(f"SET application_name = '{CHILD_NAME}'; SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                act = (
                    partial(_csv, job, path, cursor, file, lock, at)
                    if job.seed.kind == "csv"
                    else partial(_sql, cursor, file, at)
                )
                behind = _interruptible(connection, act)
                at.forget()
                cursor.execute(
                    "RESET SESSION AUTHORIZATION; RESET ROLE; " + ledger.note(job.source.name, effect.sha256)
                )
                connection.commit()
    for each in behind:
        job.note(f"{job.source.name}: {each}")


def _sql(cursor: psycopg2.extensions.cursor, file: TextIO, at: _Place) -> list[sequences.Behind]:
    """Run the statements of a file, and return the sequences that are behind what came in."""
    number = 0
    for number, each in enumerate(script.statements(file.read()), 1):  # noqa: B007  # it is reported below
        at.line, at.text = each.line, each.text
        if each.data is None:
            cursor.execute(each.text)
        else:
            at.data_line = each.data_line
            cursor.copy_expert(each.text, io.StringIO(each.data))
            at.data_line = 0
    at.forget()
    at.job.tell(count(number, "statement"))
    return sequences.behind(cursor)


def _csv(
    job: Job, path: Path, cursor: psycopg2.extensions.cursor, file: TextIO, lock: LockConnection, at: _Place
) -> list[sequences.Behind]:
    """Bring the rows of a file in, and its sequences forward; return those that are behind all the same."""
    named = table.header(job.seed, file)
    at.data_line = 1
    loaded = table.load(cursor, job.seed, path, file, named)
    at.forget()
    job.tell(f"{count(loaded.rows, 'row')} into {loaded.table.replace(chr(34), '')}")
    return sequences.bring_forward(cursor, loaded.table, lock.write)


def _interruptible(
    connection: psycopg2.extensions.connection, act: Callable[[], list[sequences.Behind]]
) -> list[sequences.Behind]:
    """Do what waits for the server in a thread: the driver hears of Ctrl-C only when a statement has ended."""
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(copy_context().run, act)
        try:
            return work.result()
        except KeyboardInterrupt:
            connection.cancel()
            raise


@contextmanager
def _open(path: Path, effect: RunSeed) -> Iterator[TextIO]:
    """Open a file whose content is what was planned.

    Raises:
        StepFailedError: it is not, or not UTF-8.
    """
    unreadable = StepFailedError(f"the seed {shown(path)} cannot be read", next_step=f"ls -l {as_word(shown(path))}")
    with translated(OSError, into=unreadable):
        raw = path.open("rb")
    with raw:
        if hashlib.file_digest(raw, "sha256").hexdigest() != effect.sha256:
            sentence = f"the seed {shown(path)} was edited while this ran, so it did not run"
            raise StepFailedError(sentence, next_step=command("apply"))
        raw.seek(0)
        not_text = StepFailedError(
            f"the seed {shown(path)} is not UTF-8; nothing of it was kept",
            next_step="save it as UTF-8, then: " + command("apply"),
        )
        with translated(UnicodeDecodeError, into=not_text):
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


class _Place:
    """Where in a file we are, so that an error can say it."""

    def __init__(self, job: Job, path: Path, effect: RunSeed) -> None:
        self.job, self._path, self._effect = job, path, effect
        self.line, self.text, self.data_line = 0, "", 0

    def forget(self) -> None:
        """Be behind the end of the file."""
        self.line, self.text, self.data_line = 0, "", 0

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Make an error of the server, or of the file, one that says where it is and what helps.

        Raises:
            StepFailedError: with all that.
        """
        import psycopg2

        try:
            yield
        except script.ScriptError as error:
            raise self._failed(error.line, [error.message], f"{error.advice}; then: " + self.job.again) from None
        except psycopg2.Error as error:
            if driver_errors.is_lost(error.pgcode, str(error)):
                raise driver_errors.gone(error, f"the seed {self.job.source.name} ran") from error
            cause = error.__cause__ or error.__context__
            if isinstance(cause, UnicodeDecodeError):  # raised within COPY, which the driver reports in its own way
                raise cause from None
            diag = error.diag
            said = [each for each in (diag.message_primary, diag.message_detail, diag.message_hint) if each]
            raise self._failed(self._line_of(error), said or str(error).splitlines(), self._way(error)) from error

    def _line_of(self, error: psycopg2.Error) -> int:
        diag = error.diag
        match = re.search(_COPY_LINE, diag.context or "", re.MULTILINE)
        if self.data_line and match:
            return self.data_line + int(match[1]) - 1
        position = int(diag.statement_position or 1)
        return self.line + self.text.count("\n", 0, position - 1) if self.line else 0

    def _way(self, error: psycopg2.Error) -> str:
        job = self.job
        if error.pgcode == _DENIED:
            return "write `as`: a role that may do this, then: " + job.again
        if error.pgcode == _TAKEN and job.seed.run == "once":
            done = ledger.known(job.source.name, self._effect.sha256)
            where = "" if job.database == job.spec.server.database else f"--database {shlex.quote(job.database)} "
            typed = shlex.quote(done) if re.search(r'["$`\\!]', done) else f'"{done}"'  # a file has any name
            return "correct it; or, if its rows are there already, say so: " + command("psql", f"{where}-- -c {typed}")
        return "correct it, then: " + job.again

    def _failed(self, line: int, said: list[str], step: str) -> ProvisionError:
        place = f"{shown(self._path)}:{line}" if line > 0 else shown(self._path)
        text = f": {short(self.text, _STATEMENT)}" if self.text else ""
        sentence = f"the seed {self.job.source.name} failed, and nothing of it was kept"
        return StepFailedError(sentence, evidence=[f"{place}{text}", *said], next_step=step)
