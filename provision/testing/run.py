"""What one process has of a test run: the environment, its clones, and the database that its tests share."""

from __future__ import annotations

import os
import secrets
import statistics
from collections import ChainMap
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from provision.clones import Clone, pool, runs, template
from provision.clones.pool import Pool
from provision.environment import Environment
from provision.errors import NextStep, ProvisionError, UsageError
from provision.model import Endpoint, Progress
from provision.model.value import replace
from provision.model.words import count as counted, shown
from provision.observe import outside
from provision.report.console import PLAIN
from provision.report.errors import WIDEST, render
from provision.spec.derived import for_tests, of_test
from provision.system import libpq, variables
from provision.testing import sql
from provision.testing.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import sqlalchemy

    from provision.spec.model import Spec

_STRATEGIES = ("clone", "rollback")


class Options(NamedTuple):
    """What the ini file and the command line say.

    ``run`` is a word that the processes of a run share; empty: the run has one process.
    """

    spec: Path
    ahead: str
    strategy: str
    keep: str
    run: str
    process: str


class RunEnvironment(Environment):
    """The environment of a test run: what the spec declares, on a server that only this run uses."""

    def __init__(self, run: TestRun, slot: int) -> None:
        super().__init__(run.options.spec, environ=run.environ)
        self._run, self._slot = run, slot

    def _read(self, **options: bool) -> Spec:
        return for_tests(super()._read(**options), self._slot)

    def clone(self, name: str | None = None, *, progress: Progress | None = None, **choice: Any) -> Clone:
        """Take a database that is made ahead, under a name that is made up; ``choice`` is that of ``login``."""
        del progress
        if name is not None:
            raise UsageError("the clones of a test run have names that are made up", next_step="leave out the name")
        login = self.login(**choice)
        clones = self._run.pool(login.database)
        return Clone(replace(login, database=clones.take()), clones.server)


class TestRun:
    """One process of a test run. Until that ends, libpq reads no variables; ``environ`` has those of the caller too."""

    __test__ = False  # this is no test

    def __init__(self, options: Options) -> None:
        self.options = options
        before = libpq.own_process()
        self._taken = {name: before[name] for name in libpq.VARIABLES & before.keys()}
        self.environ = ChainMap(os.environ, self._taken)
        self._word = options.run or secrets.token_hex(8)
        self._numbers = count(1)
        self._expected = 0
        self._pools: dict[str, Pool] = {}
        self._slot: runs.Slot | None = None
        self._shared: tuple[Database, sqlalchemy.Engine] | None = None
        self._is_spoilt = False
        self._failure: str | None = None

    def expect(self, tests: int) -> None:
        """Take part in the run; so many tests need a database of their own."""
        self._expected = tests
        with suppress(ProvisionError):  # the first fixture reports it
            self._join()

    def finish(self) -> None:
        """Leave the run."""
        if self._shared is not None:
            self._shared[1].dispose()
        is_removed = self._slot is not None and not self._slot.state.get("kept")
        for each in self._pools.values():
            each.close(drops=not is_removed)
        if self._slot is not None:
            runs.finish(self._slot)
        os.environ.update(self.environ)

    def summary(self) -> list[str]:
        """Return what databases cost, in words."""
        waits = [each * 1000 for clones in self._pools.values() for each in clones.waits]
        if not waits:
            return []
        median, most = statistics.median(waits), max(waits)
        cost = f"waited for {median:.1f} ms (median), {most:.0f} ms at most"
        return [f"provision: {counted(len(waits), 'database')}, {cost}"]

    # --- the server ---

    @cached_property
    def environment(self) -> RunEnvironment:
        """The environment; its server is started when it is first asked for."""
        with self._reported():
            self._join()
            if self._slot is not None:
                runs.start(self._slot, Progress())
            return RunEnvironment(self, self._number)

    def _join(self) -> None:
        self._check()
        try:
            spec = Environment(self.options.spec, environ=self.environ).spec
        except UsageError as error:
            error.next_step = (error.next_step or NextStep()) + "   (it is `provision_spec` in the ini file of pytest)"
            raise
        if self._slot is None and spec.server.runtime != "external":
            self._slot = runs.claim(spec, self._word)

    def _check(self) -> None:
        """Check what the ini file says.

        Raises:
            UsageError: it names another strategy, or no number.
        """
        wrong = ""
        if self.options.strategy not in _STRATEGIES:
            wrong = f"provision_strategy is `clone` or `rollback`, and not {self.options.strategy!r}"
        elif not self.options.ahead.isdecimal():
            wrong = f"provision_pool is a number, and not {self.options.ahead!r}"
        if wrong:
            raise UsageError(wrong, next_step="correct it in the ini file of pytest")

    @property
    def _number(self) -> int:
        return self._slot.number if self._slot is not None else 0

    def pool(self, database: str) -> Pool:
        """Return the clones of a declared database."""
        if database not in self._pools:
            spec = self.environment.spec
            if self._slot is not None:
                server, source = runs.source(self._slot, database)
            else:
                server, source = template.of(outside.world(spec), database, Progress())
            expected = self._expected if database == spec.server.database and self.options.strategy == "clone" else 0
            self._pools[database] = Pool(
                server, source, self._name, ahead=int(self.options.ahead), expected=expected, guard=self._guard
            )
        return self._pools[database]

    @cached_property
    def _guard(self) -> str:
        return "" if self._slot is not None else pool.guard(self.environment.spec, self._word)

    def _name(self) -> str:
        word = (self._guard,) if self._guard else ()
        return of_test(self._number, *word, self.options.process, str(next(self._numbers)))

    # --- databases ---

    def take(self) -> Database:
        """Return a database for a test: its own, or with the strategy `rollback` the one that tests share."""
        with self._reported():
            return self._shared_database()[0] if self.options.strategy == "rollback" else self._new()

    def give_back(self, taken: Database, *, failed: bool) -> None:
        """Have the database of a test dropped, unless it is kept, or shared."""
        if self._shared is not None and taken == self._shared[0]:
            return
        if not self._keeps(failed=failed):
            self.pool(self.environment.spec.server.database).give_back(taken.endpoint.database)
        elif self._slot is not None:
            runs.keep(self._slot, taken.endpoint.database)

    @contextmanager
    def shared_connection(self) -> Iterator[sqlalchemy.Connection]:
        """Have a connection to the database that tests share; its changes are rolled back."""
        with self._reported():
            database, engine = self._shared_database()
        with sql.rolled_back(engine, self._spoil) as connection:
            yield connection
        if self._is_spoilt:
            engine.dispose()
            self._shared, self._is_spoilt = None, False
            self.give_back(database, failed=False)

    def kept(self, taken: Database) -> str:
        """Say where the database of a failed test is, with the commands that lead there; empty: it is not kept."""
        if not self._keeps(failed=True):
            return ""
        spec = shown(self.options.spec)
        return (
            f"the database of this test stays until the next run, or: provision clone --drop --all {spec}\n"
            f"  provision psql {spec} --database {taken.endpoint.database}\n"
            f"  {taken.endpoint.url(masked=True)}"
        )

    def _keeps(self, *, failed: bool) -> bool:
        return self.options.keep == "all" or (failed and self.options.keep == "failed")

    def _spoil(self) -> None:
        self._is_spoilt = True

    def _new(self) -> Database:
        name = self.pool(self.environment.spec.server.database).take()
        return Database(replace(self._login, database=name), self._drivers)

    def _shared_database(self) -> tuple[Database, sqlalchemy.Engine]:
        if self._shared is None:
            made = self._new()
            self._shared = made, sql.create(made)
        return self._shared

    @cached_property
    def _login(self) -> Endpoint:
        return self.environment.login()

    @cached_property
    def _drivers(self) -> tuple[str, str]:
        spec = self.environment.spec
        return sql.drivers([tree.url_driver for tree in spec.migrations if tree.database is None and tree.url_driver])

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Fail the test with our own words, and all that follow without another try."""
        if self._failure is None:
            try:
                with variables.using(self.environ):
                    yield
            except ProvisionError as error:
                error.next_step = error.next_step and error.next_step.line(shown(self.options.spec))
                self._failure = f"provision: {error.sentence}\nthe first error of this process has the details"
                whole = "provision: " + "\n".join(render(error, PLAIN, width=WIDEST, every=True))
                raise pytest.fail.Exception(whole, pytrace=False) from None
        if self._failure is not None:
            raise pytest.fail.Exception(self._failure, pytrace=False)
