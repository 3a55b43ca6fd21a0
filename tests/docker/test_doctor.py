"""`provision doctor` with an engine: the image, and whose a port is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.environment import Environment


def test_an_image_that_is_nowhere_and_a_port_that_a_container_has(environment: Environment) -> None:
    environment.apply()
    found = {each["subject"]: each for each in json.loads(environment.run("doctor", "--json").out)["findings"]}
    assert found["image"]["message"].endswith(" is here")
    assert found["port"]["message"].endswith("is that of this server, which runs")
    assert found["apply"]["message"] == "nothing to do"
    environment.declare(
        name=f"{environment.name}-2", server={"image": "127.0.0.1:9/nowhere/postgres:17", "port": port(found)}
    )
    found = {each["subject"]: each for each in json.loads(environment.run("doctor", "--json", code=1).out)["findings"]}
    assert found["image"]["level"] == found["port"]["level"] == "problem"
    assert found["image"]["next"] == "docker pull 127.0.0.1:9/nowhere/postgres:17"
    assert f"the container '{environment.name}'" in found["port"]["message"]


def port(found: dict[str, dict[str, str]]) -> int:
    return int(found["port"]["message"].split()[0])
