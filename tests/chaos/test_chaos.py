"""The tool is killed with ``kill -9`` at random moments, and the next apply continues as if nothing had happened.

After a killed upgrade the tool itself says what to type: apply ends what has passed the switch, and names
``provision upgrade`` before it. The environment then goes back to the old version for the next moment.

``pytest tests/chaos --chaos-moments 60 -v`` shows each moment; ``--chaos-seed`` has the same ones again.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from support.embedded import an_embedded_environment, an_open_directory
from support.environment import an_environment
from support.installation import an_installation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Moment
    from support.environment import Environment

_TABLES = ("userdata", "orders", "invoices")
_SHARE = {"cold": 1.0, "settings": 0.4, "recreate": 0.6, "credential": 0.3}
_UPGRADE_SHARE = {"docker": 2.0, "embedded": 1.2}
_OLD, _NEW = 17, 18
_LIMIT = 120


@dataclass
class Victim:
    """An environment, its server before an upgrade, how long its first apply took, the rows of its canary table."""

    environment: Environment
    old: dict[str, str]
    seconds: float
    rows: int = 0
    killed: list[str] = field(default_factory=list)

    def change(self, moment: Moment) -> None:
        """Change the spec so that the next apply has something to do."""
        number, made = moment.number, self.environment
        if moment.scenario == "cold":
            made.run("destroy", "--data", "--yes")
            self.rows = 0
        elif moment.scenario == "upgrade":
            made.server(image=f"postgres:{_NEW}", bin_dir=None)
        elif moment.scenario == "credential":
            made.environ["PW"] = f"password {number}"
        elif moment.scenario == "recreate" and moment.runtime == "docker":
            made.server(stop_timeout=f"{20 + number}s", max_connections=40 + number)
        else:
            made.server(settings={"work_mem": f"{5 + number}MB"}, max_connections=40 + number)

    def kill(self, moment: Moment) -> None:
        """Apply or upgrade, and kill the tool in the middle."""
        share = _UPGRADE_SHARE[moment.runtime] if moment.scenario == "upgrade" else _SHARE[moment.scenario]
        delay = moment.fraction * self.seconds * share
        words = ("upgrade", "--yes") if moment.scenario == "upgrade" else ("apply",)
        made = self.environment
        run = made.begin(*words)
        time.sleep(delay)
        ended = run.poll() is not None
        run.kill()
        said, _ = run.communicate(timeout=_LIMIT)
        last = "it had ended" if ended else (said.splitlines() or ["nothing said yet"])[-1]
        self.killed.append(f"{moment}: after {delay:.2f} s ({last})")

    def go_on(self, moment: Moment) -> None:
        """Type what comes to mind, and then what the tool says."""
        upgrades = moment.scenario == "upgrade" and moment.number // 10 % 2
        ran = self.environment.run(*(("upgrade", "--yes") if upgrades else ("apply",)), code=None)
        if ran.code == 1 and "provision upgrade" in ran.err:
            ran = self.environment.run("upgrade", "--yes", code=None)
        assert ran.code == 0, ran.all + self.environment.evidence()

    def prove(self, moment: Moment) -> None:
        """See that everything is as declared, and that no row is lost."""
        made = self.environment
        made.run("verify", "--detailed-exitcode")
        if self.rows:
            assert made.query("SELECT count(*) FROM canary") == [(self.rows,)]
        assert made.query("SELECT version_num FROM alembic_version") == [(f"r{len(_TABLES)}",)]
        if moment.runtime == "docker":
            assert made.engine.containers(made.name) == [made.container["Id"]]

    def go_back(self) -> None:
        """Have the old version again, with every row, because no row was written since."""
        assert self.environment.query("SHOW server_version")[0][0].startswith(f"{_NEW}.")
        self.environment.run("upgrade", "--rollback", "--yes")
        self.environment.server(**self.old)

    def write(self) -> None:
        """Put one more row into the canary table, which is durable from then on."""
        self.environment.query("CREATE TABLE IF NOT EXISTS canary (n int PRIMARY KEY)")
        self.environment.query("INSERT INTO canary VALUES (%s)", self.rows)
        self.rows += 1


@pytest.fixture(scope="module")
def victims(request: pytest.FixtureRequest) -> Iterator[dict[str, Victim]]:
    """The environments, made when they are first needed."""
    with ExitStack() as stack:
        yield _Made(request, stack)


class _Made(dict[str, Victim]):
    def __init__(self, request: pytest.FixtureRequest, stack: ExitStack) -> None:
        super().__init__()
        self._request, self._stack = request, stack

    def __missing__(self, runtime: str) -> Victim:
        directory = self._stack.enter_context(an_open_directory()) / "project"
        old = {"image": f"postgres:{_OLD}"}
        if runtime == "docker":
            engine = self._request.getfixturevalue("engine")
            environment: Any = self._stack.enter_context(an_environment(engine, directory))
        else:
            environment = self._stack.enter_context(an_embedded_environment(directory))
            old["bin_dir"] = str(an_installation(_OLD, directory.parent))
        environment.server(**old).migrations(*_TABLES)
        began = time.monotonic()
        environment.apply()
        self[runtime] = Victim(environment, old, time.monotonic() - began)
        return self[runtime]


def test_killed_and_applied_again(
    victims: dict[str, Victim], moment: Moment, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = victims[moment.runtime]
    victim.write()
    victim.change(moment)
    victim.kill(moment)
    with capsys.disabled():
        print(f"\n{victim.killed[-1]}", flush=True)  # noqa: T201  # so that the moment is in the log of a pipeline
    victim.go_on(moment)
    victim.prove(moment)
    if moment.scenario == "upgrade":
        victim.go_back()
        victim.prove(moment)
