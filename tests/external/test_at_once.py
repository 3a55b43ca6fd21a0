"""Applies beside each other, and beside others' changes: each ends well, and nothing is left to do."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import pytest
from support.environment import an_environment
from support.foreign import PASSWORD
from support.shop import Shop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine
    from support.environment import Environment
    from support.foreign import Foreign

MAJORS = [14, 16, 17, 18]
_LIMIT = 120


@pytest.mark.parametrize("rounds", [5, pytest.param(20, marks=pytest.mark.long)])
def test_two_environments_with_one_role_in_common(
    engine: Engine, foreign: Foreign, tmp_path: Path, rounds: int
) -> None:
    with an_environment(engine, tmp_path / "a") as one, an_environment(engine, tmp_path / "b") as other:
        shops = [Shop(foreign, each) for each in (one, other)]
        common = shops[0].read
        for number in range(rounds):
            role = {"password": "${PW}", "connection_limit": number, "settings": {"work_mem": f"{number + 1}MB"}}
            for each in shops:
                each.declare(connect=[common] if number % 2 else [common, "public"])
                each.environment.declare(roles={common: None}).declare(roles={common: {**role, "comment": f"{number}"}})
            runs = [each.environment.begin("apply") for each in shops]
            said = [run.communicate(timeout=_LIMIT) for run in runs]
            assert [run.returncode for run in runs] == [0, 0], said
            for each in shops:
                each.environment.settled()


@pytest.mark.parametrize("major", MAJORS)
def test_an_apply_beside_a_change_of_a_table(
    servers: Callable[[int], Foreign], environment: Environment, major: int
) -> None:
    shop = Shop(servers(major), environment)
    environment.apply()
    shop.run("CREATE TABLE bill (id int)")
    shop.declare(schemas={"public": {"access": {shop.read: "write"}}})
    with (
        closing(
            psycopg2.connect(
                host="127.0.0.1", port=shop.server.port, user="postgres", password=PASSWORD, dbname=shop.name
            )
        ) as busy,
        busy.cursor() as cursor,
    ):
        cursor.execute("ALTER TABLE bill ADD COLUMN sum numeric")
        run = environment.begin("apply")
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while run.poll() is None and not shop.run(waits):
            pass
        busy.commit()
    _, said = run.communicate(timeout=_LIMIT)
    assert run.returncode == 0, said
    assert shop.run(f"SELECT has_table_privilege('{shop.read}', 'bill', 'UPDATE')") == [(True,)]
    environment.settled()
