"""The settings of a major version that the program does not know: read out of its own programs, and kept.

``initdb`` makes a cluster that is thrown away, and ``postgres --single`` answers one query on it; no server starts that
anybody could reach. ``postgres --describe-config`` would be quicker, and leaves out settings, units and words.
https://www.postgresql.org/docs/current/app-postgres.html#APP-POSTGRES-SINGLE-USER
"""

from __future__ import annotations

import json
import os
import re
from contextlib import closing
from pathlib import Path
from typing import Any

from provision.errors import StepFailedError
from provision.model import Endpoint
from provision.model.effects import ReadSettings
from provision.spec import parameters
from provision.spec.model import Spec
from provision.system import files, owned, processes
from provision.system.engine_calls import Engine
from provision.system.machine import as_user, give
from provision.system.read_only import ReadOnlyQuery

FILE = "cache/settings.json"
"""Below the environment's directory: the settings of one build of a server."""
_QUERY = (
    "SELECT json_object_agg(name, json_build_array(vartype, unit, context, min_val, max_val,"
    " CASE WHEN context <> 'internal' THEN boot_val END, coalesce(enumvals, '{}')))"
    " FROM pg_settings WHERE position('.' IN name) = 0"
)
_ANSWER = r'(?s)json_object_agg = "(\{.*\})"\t\(typeid'
_TMPFS = "/provision"
_SCRIPT = """
PATH="$PATH:$(pg_config --bindir 2>/dev/null)"
initdb -D "$PROVISION_DIRECTORY/data" -U postgres -A trust --no-sync >&2 || exit 1
echo "$PROVISION_QUERY" | postgres --single -D "$PROVISION_DIRECTORY/data" postgres
"""
_PATIENCE = 60
_LINES = 10


def recall(spec: Spec, identity: str) -> bool:
    """Take the settings that were kept for a build of the server; tell whether there were any.

    An empty ``identity`` takes those of the spec's image, whatever build of it they come from.
    """
    major, rows, kept_identity = _kept(spec)
    if major == 0 or spec.server.major not in (0, major) or identity not in ("", kept_identity):
        return False
    if major not in parameters.MAJORS:
        parameters.learn(major, rows)
    return True


def kept_major(spec: Spec) -> int:
    """Return the major version of the image that was kept with its settings, or 0."""
    return _kept(spec)[0]


def _kept(spec: Spec) -> tuple[int, dict[str, Any], object]:
    """Return what was kept of the spec's image: its major version, or 0, its settings, and which build it was."""
    try:
        kept = json.loads(owned.text(spec.home / FILE) or "{}")
        if kept["image"] == spec.server.image:
            return int(kept["major"]), dict(kept["settings"]), kept["identity"]
    except (ValueError, KeyError, TypeError):
        pass
    return 0, {}, None


def remember(spec: Spec, identity: str) -> None:
    """Keep the settings of a major version that the program does not know for the next run."""
    major = spec.server.major
    if major in parameters.MAJORS or not parameters.is_known(major):
        return
    rows = {name: list(each)[1:-1] for name, each in parameters.catalogue(major).items()}
    kept = {"image": spec.server.image, "identity": identity, "major": major, "settings": rows}
    text = json.dumps(kept)
    if owned.text(spec.home / FILE) != text:
        files.write_atomically(spec.home / FILE, text, 0o644)


def ask(at: Endpoint, major: int, database: str) -> None:
    """Learn the settings of a major version from a server that runs, if it is of that version.

    Raises:
        LoginError: it does not let us into the database.
    """
    with closing(ReadOnlyQuery(at)) as query:
        if query.reported("server_version", database=database).startswith(str(major)):
            ((rows,),) = query.rows(_QUERY, database=database)
            parameters.learn(major, rows)


def read(effect: ReadSettings, engine: Engine | None) -> None:
    """Learn the settings of a major version from an image, or from the programs of this machine.

    Raises:
        StepFailedError: its programs do not answer, with what they said.
    """
    said = _from_image(effect, engine) if engine is not None else _from_programs(effect)
    match = re.search(_ANSWER, said)
    if match is None:
        raise StepFailedError(
            f"the settings of PostgreSQL {effect.major} cannot be read from {effect.image or effect.programs}",
            evidence=[line for line in said.splitlines() if line.strip()][-_LINES:],
            next_step="see that `initdb` and `postgres` run there, as the user `postgres`",
        )
    parameters.learn(effect.major, json.loads(match[1]))


def _from_image(effect: ReadSettings, engine: Engine) -> str:
    """Run the programs in a container of its own, without a network, on memory."""
    body = {
        "Image": effect.image,
        "Entrypoint": ["sh", "-c", _SCRIPT],
        "Cmd": [],
        "Env": [f"PROVISION_DIRECTORY={_TMPFS}", f"PROVISION_QUERY={_QUERY}"],
        "HostConfig": {"NetworkMode": "none", "Tmpfs": {_TMPFS: "mode=1777"}},
        **({"User": "postgres"} if effect.is_root else {}),
    }
    _, output, errors = engine.run_once(effect.container, body, _PATIENCE)
    return b"\n".join((output, errors)).decode(errors="replace")


def _from_programs(effect: ReadSettings) -> str:
    import shutil
    import tempfile

    from provision.system.servers import environment

    directory = Path(tempfile.mkdtemp(prefix="provision-settings-"))
    variables = environment()
    path = f"{effect.programs}{os.pathsep}{variables.get('PATH', os.defpath)}"
    given = {**variables, "PATH": path, "PROVISION_DIRECTORY": str(directory), "PROVISION_QUERY": _QUERY}
    try:
        give(directory, effect.user)
        output: dict[str, Any] = {"stdout": processes.PIPE, "stderr": processes.STDOUT, **as_user(effect.user)}
        done = processes.run(("sh", "-c", _SCRIPT), cwd="/", env=given, timeout=_PATIENCE, **output)
        return str(done.stdout.decode(errors="replace"))
    except (OSError, processes.TimeoutExpired) as error:
        return str(error)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
