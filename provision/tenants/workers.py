"""Migrates tenants that are behind: some processes of Alembic, each of which serves one tenant after another.

A process is started once, because importing Alembic and a project takes longer than to migrate a database. It is
renewed when it has grown, after an error, and where what a project keeps in it leads to the tenant before: the proof of
place shows that before a revision runs. Which tenant is where is known by the version tables alone, so that after a
``kill -9`` another run continues.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from typing import Literal

from provision.alembic import Child, Graph, Location, Manner, Migrated, MigrationEvent, migrate
from provision.errors import ProvisionError, StepFailedError, UnavailableError
from provision.model import Endpoint
from provision.model.effects import Migrate
from provision.model.value import dataclass
from provision.spec.model import Migrations

_EVERY = 0.5
_MOST_SERVED = 500
_MOST_GROWTH = 128 * 1024
"""In KiB, beyond what the first tenant took."""
_PATIENCE = 10.0
_TOLD = frozenset({"waiting", "blocked", "retrying", "invalid", "unrecorded", "gone", "resumed"})
"""What a migration says that is worth passing on: the rest is a line a revision, of each tenant."""


@dataclass(frozen=True)
class Job:
    """One tenant: its tree with what is the tenant's in it, what to do, and the logins (the lock's, and ``env.py``'s).

    ``is_first``: it is done before all that are not, and alone.
    """

    tenant: str
    tree: Migrations
    effect: Migrate
    at: Endpoint
    session: Endpoint
    is_first: bool = False


@dataclass(frozen=True)
class TenantEvent:
    """What became of a tenant: ``started``, ``done`` (``migrated``) or ``failed`` (``failure``) after ``seconds``.

    ``said`` passes on a :class:`~provision.alembic.MigrationEvent` of it; ``quiet`` only says that time has passed.
    """

    what: Literal["started", "done", "failed", "said", "quiet"]
    tenant: str = ""
    seconds: float = 0.0
    migrated: Migrated | None = None
    failure: ProvisionError | None = None
    event: MigrationEvent | None = None


_QUIET = TenantEvent("quiet")


def cores() -> int:
    """Return how many processes can compute at once here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    jobs: Sequence[Job], files: tuple[Graph, Location], *, workers: int | None = None, goes_on: bool = False
) -> Generator[TenantEvent]:
    """Migrate tenants side by side, and yield what happens; close it to end what runs, also on the server.

    ``workers`` None: one for each core. With ``goes_on``, others follow one that failed, unless the server is gone.
    """
    crew = _Crew(files, goes_on=goes_on)
    try:
        yield from crew.serve([each for each in jobs if each.is_first], 1)
        yield from crew.serve([each for each in jobs if not each.is_first], workers or cores())
    finally:
        crew.end()


class _Crew:
    """The workers of one run."""

    def __init__(self, files: tuple[Graph, Location], *, goes_on: bool) -> None:
        self.files = files
        self.stopped = threading.Event()
        """Whether no further tenants are begun."""
        self.ended = threading.Event()
        """Whether those that run are to end."""
        self.is_alone = False
        """Whether each tenant needs a process of its own."""
        self.events: queue.SimpleQueue[TenantEvent | None] = queue.SimpleQueue()
        self._goes_on = goes_on
        self._workers: list[_Worker] = []

    def serve(self, jobs: Sequence[Job], most: int) -> Iterator[TenantEvent]:
        """Have at most so many workers do the jobs, and yield what they say."""
        waiting = deque(jobs)
        number = min(most, len(waiting))
        while len(self._workers) < number:
            self._workers.append(_Worker(self))
        for each in self._workers[:number]:
            each.start(waiting)
        while number:
            try:
                event = self.events.get(timeout=_EVERY)
            except queue.Empty:
                yield _QUIET
                continue
            if event is None:
                number -= 1
                continue
            yield event

    def failed(self, failure: ProvisionError) -> None:
        """Begin no further ones, unless others are to follow; called before a worker would take another job."""
        if not self._goes_on or failure.server_is_gone or isinstance(failure, UnavailableError):
            self.stopped.set()

    def end(self) -> None:
        """End what runs, and wait for the workers: they end the statements on the server."""
        self.stopped.set()
        self.ended.set()
        deadline = time.monotonic() + _PATIENCE
        for each in self._workers:
            each.interrupt()
        for each in self._workers:
            each.join(max(0.0, deadline - time.monotonic()))


class _Worker:
    """A thread of ours with a child that serves what it is given."""

    def __init__(self, crew: _Crew) -> None:
        self._crew = crew
        self._child: Child | None = None
        self._first_memory = 0
        self._thread: threading.Thread | None = None

    def start(self, jobs: deque[Job]) -> None:
        """Begin to take jobs, until there are no more, or no further ones are to begin."""
        self.join(None)
        self._thread = threading.Thread(target=self._work, args=(jobs,), daemon=True)
        self._thread.start()

    def interrupt(self) -> None:
        """End the child, so that whoever listens to it learns that it has died."""
        if self._child is not None:
            self._child.kill()

    def join(self, seconds: float | None) -> None:
        """Wait for the end of the work, and put the child away."""
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return
        if seconds is not None:
            self._let_go()

    def _work(self, jobs: deque[Job]) -> None:
        try:
            while not self._crew.stopped.is_set():
                try:
                    job = jobs.popleft()
                except IndexError:
                    return
                self._do(job)
        finally:
            self._crew.events.put(None)

    def _do(self, job: Job) -> None:
        say, began = self._crew.events.put, time.monotonic()
        say(TenantEvent("started", job.tenant))
        try:
            migrated = self._migrate(job)
        except ProvisionError as error:
            self._crew.failed(error)
            say(TenantEvent("failed", job.tenant, time.monotonic() - began, failure=error))
        else:
            say(TenantEvent("done", job.tenant, time.monotonic() - began, migrated))

    def _migrate(self, job: Job) -> Migrated:
        """Migrate a tenant; where a process that served another before fails before a revision runs, in a new one.

        Raises:
            ProvisionError: it failed.
        """
        child, heard = self._ready(job), _Heard(self._crew, job.tenant)
        was_new = child is None or not child.served
        try:
            return self._once(job, child, heard)
        except StepFailedError as error:
            if error.server_is_gone or was_new or heard.has_begun or self._crew.ended.is_set():
                raise
        migrated = self._once(job, self._ready(job), heard)
        self._crew.is_alone = True
        return migrated

    def _once(self, job: Job, child: Child | None, heard: _Heard) -> Migrated:
        is_well, manner = False, Manner(child, session=job.session, is_over=self._crew.ended.is_set)
        try:
            found = migrate(job.tree, self._crew.files, job.at, job.effect, heard, manner)
            is_well = not found.failovers  # the child that lost its server is of no use any more
        finally:
            if not is_well or self._crew.is_alone or self._is_worn():
                self._let_go()
        return found

    def _ready(self, job: Job) -> Child | None:
        """Return the child, a new one where there is none; None for a tree with a program of its own."""
        if job.tree.command:
            return None
        if self._child is None:
            self._child = Child.start(job.tree, self._crew.files[1].cwd)
            self._child.stays = True
            if self._crew.ended.is_set():  # it was started too late to be seen
                self._child.kill()
        return self._child

    def _is_worn(self) -> bool:
        child = self._child
        if child is None or not child.served:
            return False
        if child.served == 1:
            self._first_memory = child.memory
        return child.served >= _MOST_SERVED or child.memory - self._first_memory > _MOST_GROWTH

    def _let_go(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            with suppress(OSError):
                child.__exit__()


class _Heard:
    """Passes on what is worth it of a tenant, and remembers whether a revision has begun."""

    def __init__(self, crew: _Crew, tenant: str) -> None:
        self._crew, self._tenant = crew, tenant
        self.has_begun = False

    def __call__(self, event: MigrationEvent) -> None:
        self.has_begun = self.has_begun or event.what == "started"
        if event.what in _TOLD:
            self._crew.events.put(TenantEvent("said", self._tenant, event=event))
