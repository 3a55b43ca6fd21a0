"""What a plan says of roles and databases while it cannot look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.embedded import IMAGE, an_embedded_environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.server

SHOP = {"owner": "boss", "schemas": {"public": {"access": {"app": "read"}}, "apart": {}}, "extensions": ["citext"]}


def test_what_a_stopped_server_has_is_not_said_to_be_made(directory: Path) -> None:
    with an_embedded_environment(directory / "project", image=IMAGE) as environment:
        environment.declare(roles={"boss": {}, "app": {"login": True}}, databases={"shop": SHOP})
        assert "schema/shop/public" not in environment.run("plan").out
        environment.apply()
        environment.run("stop")
        planned = environment.run("plan").out
        below = planned.partition("  known for certain once the server runs:\n")[2].splitlines()
        assert below == [
            "  ? update    roles, databases and privileges",
            "  2 to start; more may follow once the server runs",
            "next: provision apply spec.yml",
        ]
        steps = {each["address"]: each for each in environment.steps() if not each["certain"]}
        assert {"role/app", "database/shop", "schema/shop/apart", "extension/shop/citext"} < set(steps)
        assert "perhaps  update roles, databases and privileges" in environment.run("status").out

        assert ": 2 started  " in environment.apply().out
        environment.declare(databases={"shop": SHOP, "other": {"schemas": {"public": {"public": "none"}, "new": {}}}})
        planned = environment.run("plan").out
        assert "+ create    schema/other/new" in planned
        assert "schema/other/public" not in planned
        environment.apply()
        environment.settled()
