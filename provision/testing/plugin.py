"""Hooks and fixtures. pytest loads this module wherever provision is installed, so it imports nothing but pytest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy
    from sqlalchemy.ext.asyncio import AsyncEngine

    from provision.testing.database import Database
    from provision.testing.run import RunEnvironment, TestRun

OWN = frozenset({"database_url", "async_database_url", "db_engine", "async_engine"})
"""The fixtures that lead to a database of the test's own; ``db_connection`` alone does with one that tests share."""
_ALL = OWN | {"provision_env", "db_connection"}
_RUN: pytest.StashKey[TestRun] = pytest.StashKey()
_TAKEN: pytest.StashKey[Database] = pytest.StashKey()
_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the settings of the ini file, and the option."""
    parser.addini("provision_spec", "the spec, relative to the ini file", default="provision.yml")
    parser.addini("provision_pool", "how many databases each process makes ahead", default="4")
    parser.addini(
        "provision_strategy",
        "clone: a database for each test; rollback: one for each process, where db_connection undoes its changes",
        default="clone",
    )
    parser.getgroup("provision").addoption(
        "--provision-keep",
        choices=("no", "failed", "all"),
        default="no",
        help="keep the databases of failed tests, or of all, and their server, until the next run",
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take part in the test run where a test needs it, so that the server stays until the last process has ended."""
    names = [set(getattr(item, "fixturenames", ())) for item in session.items]
    if session.config.option.collectonly or not any(_ALL & each for each in names):
        return
    run = _the_run(session.config)
    run.expect(sum(bool(OWN & each) for each in names))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the server, or leave that to the other processes of the run."""
    if _RUN in session.config.stash:
        session.config.stash[_RUN].finish()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Say where a failed test's database is, if it is kept."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed and _TAKEN in item.stash:
        item.stash[_FAILED] = True
        if where := item.config.stash[_RUN].kept(item.stash[_TAKEN]):
            report.sections.append(("provision", where))
    return report  # type: ignore[return-value]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Give the databases of a test back when all its reports are made."""
    try:
        return (yield)
    finally:
        if _TAKEN in item.stash:
            item.config.stash[_RUN].give_back(item.stash[_TAKEN], failed=item.stash.get(_FAILED, False))


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Show URLs masked also where a test compares them: pytest would show them letter by letter."""
    is_url = any(isinstance(each, str) and hasattr(each, "masked") for each in (left, right))
    return [f"{left!r} {op} {right!r}"] if is_url else None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what databases cost, with -v."""
    if _RUN in config.stash and terminalreporter.verbosity > 0:
        for line in config.stash[_RUN].summary():
            terminalreporter.write_line(line)


def _the_run(config: pytest.Config) -> TestRun:
    if _RUN not in config.stash:
        from provision.testing.run import Options, TestRun

        where = config.inipath.parent if config.inipath is not None else config.rootpath
        options = Options(
            spec=where / config.getini("provision_spec"),
            ahead=config.getini("provision_pool"),
            strategy=config.getini("provision_strategy"),
            keep=config.option.provision_keep,
            run=os.environ.get("PYTEST_XDIST_TESTRUNUID", ""),
            process=os.environ.get("PYTEST_XDIST_WORKER", "main"),
        )
        config.stash[_RUN] = TestRun(options)
    return config.stash[_RUN]


def _own(request: pytest.FixtureRequest) -> Database:
    """Return the database of the test: all its fixtures lead to the same one."""
    stash: pytest.Stash = request.node.stash
    if _TAKEN not in stash:
        stash[_TAKEN] = _the_run(request.config).take()
    return stash[_TAKEN]


@pytest.fixture(scope="session")
def provision_env(request: pytest.FixtureRequest) -> RunEnvironment:
    """The environment of the test run: a server of its own. ``clone()`` makes one more database."""
    return _the_run(request.config).environment


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL, with its password, of a migrated database that only this test uses: ``postgresql://…``."""
    return _own(request).url()


@pytest.fixture
def async_database_url(request: pytest.FixtureRequest) -> str:
    """The same URL for an async engine of SQLAlchemy: ``postgresql+asyncpg://…``."""
    return _own(request).async_url()


@pytest.fixture
def db_engine(request: pytest.FixtureRequest) -> Iterator[sqlalchemy.Engine]:
    """An engine of SQLAlchemy on the test's own database."""
    from provision.testing.sql import engine

    with engine(_own(request)) as made:
        yield made


@pytest.fixture
def async_engine(request: pytest.FixtureRequest) -> AsyncEngine:
    """An async engine of SQLAlchemy on the test's own database. It keeps no connection open, in no event loop."""
    from provision.testing.sql import async_engine

    return async_engine(_own(request))


@pytest.fixture
def db_connection(request: pytest.FixtureRequest) -> Iterator[sqlalchemy.Connection]:
    """A connection of SQLAlchemy whose changes are rolled back after the test, also those that a Session commits.

    Where no other fixture of the test leads to a database of its own, tests share one. If a test commits the connection
    itself, the next test gets a new one.
    """
    if OWN.isdisjoint(request.fixturenames):
        with _the_run(request.config).shared_connection() as connection:
            yield connection
    else:
        from provision.testing.sql import engine, rolled_back

        with engine(_own(request)) as made, rolled_back(made) as connection:
            yield connection
