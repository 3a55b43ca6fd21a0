"""What tests of every folder share: a Docker engine with the test images, and environments that go away again."""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the package `support`: import mode importlib adds nothing
import support.law  # noqa: F401  # its profile has to be there when the command line is read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.engine import Engine
    from support.environment import Environment

for each in [name for name in os.environ if name.startswith(("GITHUB_", "CI_")) or name == "GITLAB_CI"]:
    del os.environ[each]  # in a pipeline the program speaks to its runner; a test that wants this says so

IMAGES = ("postgres:14", "postgres:16", "postgres:17", "postgres:18")
REQUIRED = "PROVISION_TEST_REQUIRE_DOCKER"
OF_DOCKER = ("docker", "engines", "external", "remote")
"""The folders in which each test needs an engine with the images."""
QUICK = ("laws", "tables")
"""The folders whose tests take milliseconds: last in a run of several workers, so that these end at the same time."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say how often tests/chaos kills the tool, and from which seed the moments are drawn."""
    parser.addoption("--chaos-moments", type=int, default=10, help="how often tests/chaos kills the tool (10)")
    parser.addoption("--chaos-seed", type=int, default=7, help="where its random moments come from (7)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a Docker engine by its folder, and put the long files first where several workers run."""
    folders = {Path(__file__).parent / each for each in OF_DOCKER}
    for item in items:
        if not folders.isdisjoint(item.path.parents):
            item.add_marker(pytest.mark.docker)
    if hasattr(config, "workerinput"):
        quick = {Path(__file__).parent / each for each in QUICK}
        items.sort(key=lambda item: not quick.isdisjoint(item.path.parents))


def pytest_report_header(config: pytest.Config) -> str:
    """Show the seed, so that a failure can be repeated."""
    return (
        f"chaos: --chaos-moments {config.getoption('--chaos-moments')} --chaos-seed {config.getoption('--chaos-seed')}"
    )


def _skipped(config: pytest.Config) -> list[pytest.TestReport]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return list(reporter.stats.get("skipped", ())) if reporter is not None else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in a last paragraph what this machine could not run, and how it could."""
    if skipped := _skipped(config):
        terminalreporter.section("not run here")
        terminalreporter.line(
            f"{len(skipped)} tests were skipped; the reasons stand above. Most need a Docker engine with the images"
            " postgres:14 to postgres:18. As root on Debian, `.ci/engine` installs and starts one, and `make images`"
            " makes the images; elsewhere, see https://docs.docker.com/engine/install/."
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a pipeline in which something was skipped: no other machine would run it."""
    if os.environ.get("CI") and _skipped(session.config) and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unavailable(reason: str) -> None:
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason}, and {REQUIRED}=1 forbids to skip")
    pytest.skip(reason)


# Tests start the program thousands of times; without its compiled modules, compiling them is half of the work.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What one test has made would begin another; tests/golden turn it on for a cache of their own.
os.environ["PROVISION_GOLDEN"] = "off"

# A run in the background of a script ignores Ctrl-C, and so would the programs under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The engine that the environment names; without one, or without the images, the test is skipped."""
    import docker.errors
    import requests
    from support.engine import Engine

    refused = None
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            found = Engine()
            missing = [image for image in IMAGES if not found.has_image(image)]
        except (docker.errors.DockerException, requests.RequestException) as error:
            refused = f"no Docker engine answers: {error}"
        gc.collect()  # the SDK leaves the socket open on which no engine answered
    if refused:
        _unavailable(refused)
    if missing:
        _unavailable(f"the engine has no {', '.join(missing)} (make images)")
    return found


@pytest.fixture
def environment(engine: Engine, tmp_path: Path) -> Iterator[Environment]:
    """An environment of this test: declared, not applied; removed with its data afterwards."""
    from support.environment import an_environment

    with an_environment(engine, tmp_path / "project") as made:
        yield made


@pytest.fixture(scope="module")
def shared(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Environment]]:
    """Make environments for a module's own fixtures; all of them are removed after its last test."""
    from contextlib import ExitStack

    from support.environment import an_environment

    with ExitStack() as stack:
        yield lambda: stack.enter_context(an_environment(engine, tmp_path_factory.mktemp("shared") / "project"))
