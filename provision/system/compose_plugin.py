"""Asks Docker's Compose plugin what compose files say together. It starts no container and reaches no engine.

Compose 2.26: https://docs.docker.com/reference/cli/docker/compose/config/. Without interpolation the variables keep
their defaults, and no variable of this shell gets into the answer. A remote ``include`` is not loaded.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from provision.system import processes
from provision.system.variables import environ

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SECONDS = 5.0
_CONFIG = ("config", "--format", "json", "--no-interpolate", "--no-path-resolution", "--no-consistency")
# A later Compose writes what an env_file sets into the environment, unless it gets this flag; 2.26 does not know it.
_LATER = "--no-env-resolution"
# The client looks for its engine first, over SSH where that is the address; and a remote file would be downloaded.
_FIXED = {
    "DOCKER_HOST": "unix:///nonexistent",
    "COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false",
    "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false",
}


def config(files: Sequence[Path]) -> Mapping[str, Any] | str:
    """Return the model of a compose file with its overrides, its numbers as texts; or why there is none, in words.

    The plugin's own message is not in those words: it can quote a password.
    """
    named = [word for file in files for word in ("-f", str(file))]
    argv = ("docker", "compose", *named, "--profile", "*", *_CONFIG)
    try:
        done = _run(*argv, _LATER)
        if done.returncode and _LATER in done.stderr.decode(errors="replace"):
            done = _run(*argv)
        if done.returncode:
            return "`docker compose config` failed"
        model = json.loads(done.stdout, parse_int=str, parse_float=str)
    except processes.TimeoutExpired:
        return f"`docker compose config` did not answer within {_SECONDS:g} s"
    except OSError:
        return "Docker's Compose plugin is not here"
    except (ValueError, RecursionError):
        return "`docker compose config` did not answer in JSON"
    return model if isinstance(model, dict) else "`docker compose config` did not answer with a mapping"


def _run(*argv: str) -> processes.CompletedProcess[bytes]:
    kept = {
        key: value
        for key, value in environ().items()
        if not key.startswith(("COMPOSE_", "DOCKER_")) or key == "DOCKER_CONFIG"
    }
    return processes.run(argv, stdin=processes.DEVNULL, capture_output=True, env={**kept, **_FIXED}, timeout=_SECONDS)
