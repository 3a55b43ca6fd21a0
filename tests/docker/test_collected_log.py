"""A server that writes its log into files of its own: ``logs`` says where."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.environment import Environment


def test_logs_names_the_command_that_shows_the_collected_log(environment: Environment) -> None:
    environment.server(settings={"logging_collector": "on"}).apply()
    ran = environment.run("logs")
    assert "logging_collector is on" in ran.err
    command = ran.err.partition("next: ")[2].splitlines()[0]
    shown = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True).stdout
    assert "database system is ready to accept connections" in shown
