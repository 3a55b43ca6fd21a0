"""The moments at which the tool is killed: drawn from a seed, so that a failure can be had again."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

SCENARIOS = ("cold", "settings", "recreate", "credential", "upgrade")
RUNTIMES = {"docker": pytest.mark.docker, "embedded": pytest.mark.server}


@dataclass(frozen=True)
class Moment:
    """When to kill: ``fraction`` of what the scenario takes when it is left alone."""

    number: int
    runtime: str
    scenario: str
    fraction: float

    def __str__(self) -> str:
        return f"{self.number:02d}-{self.runtime}-{self.scenario}-{self.fraction:.3f}"


def moments(count: int, seed: int) -> list[Moment]:
    """Return moments spread over scenarios and runtimes; those of one runtime stand together."""
    chosen = random.Random(seed)  # noqa: S311  # to be had again, not to be secret
    drawn = [
        Moment(number, list(RUNTIMES)[number % 2], SCENARIOS[number // 2 % len(SCENARIOS)], chosen.random())
        for number in range(count)
    ]
    return sorted(drawn, key=lambda each: (each.runtime, each.number))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "moment" in metafunc.fixturenames:
        drawn = moments(metafunc.config.getoption("--chaos-moments"), metafunc.config.getoption("--chaos-seed"))
        found = [pytest.param(each, id=str(each), marks=RUNTIMES[each.runtime]) for each in drawn]
        metafunc.parametrize("moment", found)
