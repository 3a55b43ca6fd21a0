"""A run with nothing to do is mostly imports, so what it does not use is not loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.embedded import an_embedded_environment, an_open_directory

pytestmark = pytest.mark.server

NOT_USED = {
    *("alembic", "docker", "jinja2", "pydantic", "sqlalchemy"),
    *("click.shell_completion", "dataclasses", "difflib", "random", "shutil", "ssl", "subprocess", "tempfile"),
    *("provision.apply.effects", "provision.apply.transactions", "provision.rendering", "provision.golden"),
    *("provision.upgrade", "provision.insight", "provision.init", "provision.alembic.verbs"),
}
MOST = 118
"""Of our own modules."""


def test_nothing_is_loaded_that_is_not_used() -> None:
    script = (
        "import sys; from provision.cli import run; code = run(['apply', 'spec.yml']);"
        "print(*[name for name, module in sys.modules.items() if module]); sys.exit(code)"
    )
    # The path is short: that of a socket can be too long, which needs a temporary directory.
    with an_open_directory() as directory, an_embedded_environment(directory) as environment:
        environment.migrations("customers").apply()
        done = subprocess.run(
            (sys.executable, "-c", script),
            cwd=directory,
            env=environment.environ,
            capture_output=True,
            text=True,
            check=True,
        )
    said, loaded = done.stdout.splitlines()
    assert ": nothing to do (" in said
    assert sorted(NOT_USED.intersection(loaded.split())) == []
    assert len([name for name in loaded.split() if name.startswith("provision")]) <= MOST
