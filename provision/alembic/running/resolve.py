"""What only the project's interpreter can tell of a tree: where a package is, and what a computed revision id is.

Asking it takes as long as Alembic takes to load, so the answers are kept. Where a package is holds as long as nothing
was installed or removed on the interpreter's path; what a file states, as long as its content is the same.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.alembic.running.process import ASKING_NAME, Child, OutOfTimeError, secrets_of
from provision.errors import MigrationsError, ProvisionError
from provision.system import owned
from provision.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.alembic.tree import Location, NotStaticError
    from provision.alembic.tree.source import Fields
    from provision.spec.model import Migrations

_SECONDS = 120.0
_answers: dict[Path, str] = {}
"""What was asked in this process and is not kept yet: observing writes nothing."""


def directory(tree: Migrations, place: str, cache: Path | None) -> Path:
    """Return the directory of ``package:dir``, as the interpreter of a tree finds it.

    Raises:
        MigrationsError: it has no such package, or there is no such directory in it.
    """
    cwd = tree.cwd or (tree.config.parent if tree.config else Path.cwd())
    package, _, rest = place.partition(":")
    here = cwd.joinpath(*package.split("."))
    if here.is_dir():
        return here.joinpath(*rest.split(":"))
    key = [str(tree.python), str(cwd), place]
    kept = cache.with_name(f"{cache.stem}-{place.replace(os.sep, '_')}.json") if cache else None
    if kept and (known := _recall(kept, key)):
        return known
    events = _ask(tree, cwd, {"package": place})
    for event in events:
        if event["event"] == "location":
            if kept:
                installed = {path: _changed(path) for path in event["installed"] if path != key[1]}
                _answers[kept] = json.dumps({"key": key, "script": event["script"], "installed": installed})
            return Path(event["script"])
    raise MigrationsError(
        f"{tree.python or 'the interpreter'} does not find {place}",
        evidence=[each["message"] for each in events if each["event"] == "error"],
        next_step="correct the place, or `migrations.python`: the interpreter that has the package",
    )


def revisions(tree: Migrations, location: Location, why: NotStaticError) -> Mapping[Path, Fields]:
    """Return what the revision files of a tree state, by running them; ``why`` is the reason to.

    Raises:
        MigrationsError: they cannot be run.
    """
    asked = {"package": None, "env_file": str(location.env), "prepare": tree.prepare}
    if tree.package is not None:
        asked["script_location"] = str(location.script)
    found: dict[Path, Fields] = {}
    for event in _ask(tree, location.cwd, asked):
        if event["event"] == "error":
            place = f"at {event['place']}" if event["place"] else ""
            why.evidence = (*why.evidence, f"running it fails: {event['type']}: {event['message']}", place)
            raise why
        if event["event"] == "revision":
            names = [event[key] for key in ("revision", "down", "depends_on", "labels", "message")]
            found[Path(event["path"])] = [*names, [], 1, 1]
    return found


def _ask(tree: Migrations, cwd: Path, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    request = {
        "kind": "resolve",
        "words": ["heads"],
        "secrets": secrets_of(tree),
        "cwd": str(cwd),
        "config": str(tree.config) if tree.config else None,
        "section": tree.section,
        "script_location": str(tree.script_location) if tree.script_location else None,
        "options": {name: value.reveal() for name, value in tree.options.items()},
        "env": {name: value.reveal() for name, value in tree.env.items()},
        "x": {name: value.reveal() for name, value in tree.x.items()},
        "attributes": {},
        "prepare": None,
        "url_driver": tree.url_driver or "postgresql",
        "tls": {},
        "env_file": "",
        **dict.fromkeys(("host", "user", "password", "database"), "nowhere"),
        "port": 5432,
        **asked,
    }
    found = []
    with Child.start(tree, cwd, ASKING_NAME) as child, suppress(OutOfTimeError):
        for event in child.events(time.monotonic() + _SECONDS):
            if event["event"] == "ready":
                child.ask(request)
            else:
                found.append(event)
    return found


def _recall(kept: Path, key: list[str]) -> Path | None:
    try:
        found = json.loads(owned.text(kept) or "{}")
        if found["key"] != key or any(_changed(path) != at for path, at in found["installed"].items()):
            return None
        script = Path(found["script"])
        return script if script.is_dir() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep() -> None:
    """Write the answers of this run for the next one; being unable to is no error. Only an apply keeps anything."""
    while _answers:
        kept, text = _answers.popitem()
        with suppress(ProvisionError):
            write_atomically(kept, text, 0o644)


def _changed(path: str) -> int | None:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return None
