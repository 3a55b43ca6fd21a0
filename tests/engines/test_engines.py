"""Other engines than this machine's Docker: `tests/docker/test_engines.py` and the README's session on each of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.checkout import ROOT

if TYPE_CHECKING:
    from support.engine import Engine

RUN = Path(__file__).parent / "run"
DAY = "tests/docker/test_engines.py"
CLAIMS = "tests/docker/test_claims.py"
ALONE = "tests/engines/alone.py"
GOLDENS = "tests/golden/test_docker.py"
README = "tests/transcripts/test_documents.py"
NEWER = ("docker-26", "docker-28", "podman-5.4", "podman-5.8")
_TIMEOUT = 1800


def beside(engine: str, *selected: str) -> None:
    """Run tests beside an engine; what they print is shown where they fail."""
    if os.geteuid() != 0:
        pytest.skip("only root can give an engine namespaces of its own")
    if engine.startswith("podman-4") and shutil.which("podman") is None:
        pytest.skip("this machine has no podman (as root on Debian, .ci/podman installs it)")
    argv = (str(RUN), engine, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *selected)
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=_TIMEOUT, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " skipped" not in done.stdout, done.stdout


@pytest.mark.timeout(_TIMEOUT)
def test_a_working_day_on_podman(engine: Engine) -> None:
    assert engine.has_image("postgres:17")
    beside("podman-4", f"{DAY}::test_a_working_day[volume]", f"{DAY}::test_who_is_in_the_way_is_told", ALONE)


@pytest.mark.long
@pytest.mark.timeout(_TIMEOUT)
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("options", ["", "+rootless", "+tcp"])
@pytest.mark.parametrize("name", ["podman-4", *NEWER])
def test_everything(name: str, options: str) -> None:
    chosen = "(not test_the_sessions_of_a_document or README)"
    if name.startswith("podman") and options == "+tcp":  # of another host, it does not tell whether a path is there
        chosen += " and not test_a_working_day[path]"
    beside(f"{name}{options}", DAY, CLAIMS, ALONE, README, "-k", chosen)


@pytest.mark.long
@pytest.mark.timeout(_TIMEOUT)
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", ["docker-26", "docker-28"])
def test_docker_that_maps_user_ids(name: str) -> None:
    beside(f"{name}+userns", DAY)


@pytest.mark.long
@pytest.mark.timeout(_TIMEOUT)
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", NEWER)
def test_goldens(name: str) -> None:
    beside(name, GOLDENS, "-k", "what_it_was or empty_server or scripts_of_its_own")
