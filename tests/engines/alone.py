"""What acts on every environment of an engine: only for one that has no others, so no test by its name.

`test_engines.py` runs it in namespaces of its own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
from support.checkout import ROOT
from support.environment import an_environment

if TYPE_CHECKING:
    from pathlib import Path

    from support.engine import Engine
    from support.environment import Environment

SCHEMA = json.loads((ROOT / "docs/schema/server.json").read_text())


def states(environment: Environment) -> dict[str, Any]:
    rows = environment.run("list", "--json", spec=False).json()["environments"]
    return {each["environment"]: each["state"] for each in rows}


def test_stop_all_stops_containers_and_what_is_left_is_listed(engine: Engine, tmp_path: Path) -> None:
    with an_environment(engine, tmp_path / "kept") as kept, an_environment(engine, tmp_path / "lost") as lost:
        kept.server(data={"path": "./the data"}).apply()
        lost.server(data={"ephemeral": True}).apply()
        engine.client.pause(kept.name)
        assert states(kept) == {kept.name: "paused", lost.name: "running"}
        documents = kept.run("stop", "--all", "--json", spec=False).json()
        for each in documents:
            jsonschema.validate(each, SCHEMA)
        assert {each["environment"] for each in documents if not each["error"]} == {kept.name, lost.name}
        assert states(kept) == {kept.name: "stopped", lost.name: "stopped"}
        assert "nothing of yours runs" in kept.run("stop", "--all", spec=False).out
        assert "the data stays" not in lost.run("destroy", "--name", lost.name, spec=False).out
        assert "the data stays" in kept.run("destroy", "--name", kept.name, spec=False).out
        assert states(kept) == {kept.name: "absent"}
        kept.spec.unlink()
        kept.run("destroy", "--data", "--yes", "--name", kept.name, spec=False)
        assert not (kept.directory / "the data").exists()
        assert states(kept) == {}
