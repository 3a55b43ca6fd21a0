"""Servers that others run, one for each major version and session: a test declares a database of its own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support.foreign import a_foreign_server
from support.shop import Shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.engine import Engine
    from support.environment import Environment
    from support.foreign import Foreign


@pytest.fixture(scope="session")
def servers(engine: Engine) -> Iterator[Callable[[int], Foreign]]:
    """Return the session's server of a major version, started when it is first asked for."""
    running: dict[int, Foreign] = {}
    with ExitStack() as stack:

        def of(major: int) -> Foreign:
            if major not in running:
                running[major] = stack.enter_context(a_foreign_server(engine, major))
            return running[major]

        yield of


@pytest.fixture
def foreign(servers: Callable[[int], Foreign]) -> Foreign:
    """A server of no special version."""
    return servers(17)


@pytest.fixture
def shops(servers: Callable[[int], Foreign], environment: Environment) -> Callable[[int], Shop]:
    """Return an environment with a declared database, on the server of a major version."""
    return lambda major: Shop(servers(major), environment)


@pytest.fixture
def shop(shops: Callable[[int], Shop]) -> Shop:
    """One on a server of no special version."""
    return shops(17)
