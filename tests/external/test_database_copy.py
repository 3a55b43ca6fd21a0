"""Copies inside servers of every major version; none is taken for a database of somebody else."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from provision.environment import Environment as Api
from provision.model import REPLACED, SNAPSHOT
from provision.system import database_copy
from provision.system.database_copy import New
from provision.system.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment
    from support.foreign import Foreign

WAYS = {14: "", 15: "FILE_COPY", 18: "FILE_COPY"}
"""These servers run with `fsync = off`."""


@pytest.mark.parametrize("major", WAYS)
def test_a_database_is_copied_swapped_and_not_imported(
    servers: Callable[[int], Foreign], environment: Environment, major: int
) -> None:
    server = servers(major)
    server.declare(environment).declare().apply()
    at = Api(environment.spec, environ=environment.environ).superuser
    name = at.database
    copy, aside = database_copy.new_name(SNAPSHOT, name), database_copy.new_name(REPLACED, name)
    server.execute("CREATE TABLE kept AS SELECT 7 AS n", database=name)
    server.execute(f"ALTER DATABASE {name} SET work_mem = '5MB'", f"COMMENT ON DATABASE {name} IS 'mine'")
    try:
        with closing(connect(at, read_only=True)) as connection:
            assert database_copy.way(connection, name).strategy == WAYS[major]
        assert database_copy.copy(at, name, New(copy, closed=True)) == ((), ())
        printed = environment.run("import").out
        assert name in printed
        assert "provision_" not in printed
        server.execute("INSERT INTO kept VALUES (8)", database=name)
        opening = f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"
        assert database_copy.rename(at, [(name, aside), (copy, name)], opening) == ()
        assert server.execute("SELECT n, current_setting('work_mem') FROM kept", database=name) == [(7, "5MB")]
        assert server.execute("SELECT count(*) FROM kept", database=aside) == [(2,)]
    finally:
        for each in (copy, aside, name):
            database_copy.drop(at, each)
