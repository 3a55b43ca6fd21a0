"""What acts on every environment of an engine: only for one that has no others, so no test by its name.

`test_engines.py` runs it in namespaces of its own.
"""

from __future__ import annotations

import contextlib
import getpass
import json
from typing import TYPE_CHECKING, Any

import docker.errors
import jsonschema
from support.checkout import ROOT
from support.environment import an_environment

from provision.golden.docker_store import packed
from provision.golden.key import Golden, Inputs
from provision.runtimes.docker import golden_image

if TYPE_CHECKING:
    from pathlib import Path

    from support.engine import Engine
    from support.environment import Environment

SCHEMA = json.loads((ROOT / "docs/schema/server.json").read_text())


def states(environment: Environment) -> dict[str, Any]:
    rows = environment.run("list", "--json", spec=False).json()["environments"]
    return {each["environment"]: each["state"] for each in rows}


def is_rootless(engine: Engine) -> bool:
    info = engine.client.info()
    return "name=rootless" in info["SecurityOptions"] or bool(info.get("Rootless"))


def can_pause(engine: Engine, name: str) -> bool:
    """Pause a container where the engine can: for a rootless one, the machine has to let it make cgroups."""
    with contextlib.suppress(docker.errors.APIError) if is_rootless(engine) else contextlib.nullcontext():
        engine.client.pause(name)
        return True
    return False


def test_stop_all_stops_containers_and_what_is_left_is_listed(engine: Engine, tmp_path: Path) -> None:
    with an_environment(engine, tmp_path / "kept") as kept, an_environment(engine, tmp_path / "lost") as lost:
        # Of a host, or a user, that is not ours, a directory is not removed without the spec.
        is_ours = engine.address.is_local and not is_rootless(engine)
        kept.server(data={"path": "./the data"} if is_ours else {"volume": f"{kept.name}-kept"}).apply()
        lost.server(data={"ephemeral": True}).apply()
        state = "paused" if can_pause(engine, kept.name) else "running"
        assert states(kept) == {kept.name: state, lost.name: "running"}
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


def test_prune_leaves_the_goldens_of_other_users(engine: Engine, tmp_path: Path) -> None:
    with an_environment(engine, tmp_path / "project") as made:
        made.environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")
        mine, other = (a_golden(engine, user) for user in (getpass.getuser(), "another"))
        ran = made.run("golden", "prune", spec=False)
        assert ran.out.startswith(f"removed {mine[:8]}")
        assert "note: 1 of other users in the engine stay" in ran.err
        assert "no goldens of yours" in made.run("golden", "prune", spec=False).out
        assert ran.out.count("removed") == 1
        assert made.run("golden", "prune", "--all", spec=False).out.startswith(f"removed {other[:8]}")
        assert "no goldens" in made.run("golden", "list", spec=False).out


def a_golden(engine: Engine, user: str) -> str:
    """Have an image with the labels of a golden of this user; return its key."""
    golden = Golden.of(Inputs({"runtime": user}, {}, ()))
    labels = {golden_image.KEY: golden.key, golden_image.ABOUT: packed(golden), golden_image.USER: user}
    container = engine.client.create_container("postgres:17")["Id"]
    changes = [f"LABEL {name}={text}" for name, text in labels.items()]
    name = f"localhost/{golden_image.REPOSITORY}" if engine.program == "podman" else golden_image.REPOSITORY
    engine.client.commit(container, name, golden.key, changes=changes)
    engine.client.remove_container(container, v=True)
    return golden.key
