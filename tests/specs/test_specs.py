"""Each example spec, run as its first lines say: applied, nothing left to do, and removed again."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest
from support.checkout import ROOT, SECRET, a_checkout

from provision.spec.load import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.checkout import Checkout
    from support.engine import Engine

ALL = sorted(path.name for path in (ROOT / "specs").glob("*.yml"))
ELSEWHERE = {
    "quickstart.yml": "what `make quickstart` runs, with a test of its own",
    "external.yml": "needs a server that somebody else runs",
    "managed.yml": "needs a server of a cloud provider",
}
HERE = [name for name in ALL if name not in ELSEWHERE]


@pytest.fixture
def checkout(engine: Engine, tmp_path: Path) -> Iterator[Checkout]:
    with a_checkout(tmp_path / "checkout", engine) as made:
        yield made


@pytest.mark.parametrize("name", ALL)
def test_a_spec_is_valid_and_begins_with_how_to_run_it(name: str) -> None:
    path = ROOT / "specs" / name
    variables = {**os.environ, **dict.fromkeys(re.findall(r"\$\{(\w+)\}", path.read_text()), "x")}
    load(path, variables)
    assert path.read_text().startswith("# ")
    assert f"provision apply specs/{name}" in path.read_text()


@pytest.mark.docker
@pytest.mark.parametrize("name", HERE)
def test_a_spec_runs(name: str, checkout: Checkout) -> None:
    def run(words: str) -> str:
        typed = checkout.type(f"provision {words}")
        assert typed.code == 0, typed.text
        return typed.text

    run(f"apply specs/{name}")
    assert "nothing to do" in run(f"apply specs/{name}")
    status = json.loads(run(f"status --json specs/{name}"))
    declared = load(ROOT / "specs" / name, {})
    assert status["server"] == "running"
    assert [*status["revisions"].values()] == ([["0006"]] if declared.migrations else [])
    for setting, value in declared.server.settings.items():
        shown = run(f"psql --superuser specs/{name} -- -Atc 'SHOW {setting}'")
        assert shown.strip() == str(value).strip(), setting
    run(f"destroy --data --yes specs/{name}")
    assert json.loads(run(f"status --json specs/{name}"))["server"] == "absent"


@pytest.mark.docker
@pytest.mark.parametrize("major", [14, 16, 18])
def test_the_ci_spec_takes_its_major_version_from_the_matrix(major: int, checkout: Checkout) -> None:
    done = checkout.type(f"POSTGRES_MAJOR={major} CI_JOB=4711 provision apply --json specs/ci.yml 2>/dev/null")
    assert done.code == 0, done.text
    shown = checkout.type(
        f"CI_JOB=4711 POSTGRES_MAJOR={major} provision psql specs/ci.yml -- -Atc 'SHOW server_version'"
    )
    assert shown.text.startswith(f"{major}."), shown.text
    fsync = checkout.type(f"CI_JOB=4711 POSTGRES_MAJOR={major} provision psql specs/ci.yml -- -Atc 'SHOW fsync'")
    assert fsync.text == "off"


@pytest.mark.docker
def test_the_tuned_spec_limits_its_container(checkout: Checkout, engine: Engine) -> None:
    assert checkout.type("provision apply specs/tuned.yml").code == 0
    limits = engine.inspect(f"{checkout.names}tuned-postgres")["HostConfig"]
    assert (limits["Memory"], limits["NanoCpus"], limits["ShmSize"]) == (1 << 30, 2_000_000_000, 256 << 20)


@pytest.mark.docker
def test_the_password_file_of_the_secret_spec_can_be_changed(checkout: Checkout) -> None:
    assert checkout.type("provision apply specs/secret.yml").code == 0
    (checkout.directory / SECRET).write_text("another one\n")
    assert "login/shop" in checkout.type("provision apply specs/secret.yml").text
    assert "another%20one" in checkout.type("provision url specs/secret.yml").text
