"""An engine on another host, which the client reaches by ssh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.remote import need_root, remote_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.engine import Engine
    from support.environment import Environment
    from support.remote import Remote


@pytest.fixture(scope="session")
def remote(engine: Engine) -> Iterator[Remote]:
    """The host; its engine has the image of PostgreSQL 17."""
    assert engine.has_image("postgres:17")
    need_root()
    with remote_host("postgres:17") as host:
        yield host


@pytest.fixture
def there(remote: Remote, tmp_path: Path) -> Iterator[Environment]:
    """An environment of this test whose engine is the host's."""
    with remote.environment(tmp_path / "project") as made:
        yield made
