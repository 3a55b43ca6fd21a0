"""Spec → Desired: what shall be there, as far as it can be said before looking at the server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from provision import __version__, rendering, runtimes
from provision.errors import ProvisionError, command
from provision.kinds import configuration as grammar
from provision.kinds import database, file, foreign_settings, login, migrations, server, settings
from provision.model import UNREAD
from provision.model.effects import WriteFile
from provision.spec.model import PasswordGenerated
from provision.spec.parameters import canonical_name, catalogue, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provision.alembic.tree.graph import Graph
    from provision.model import Address, Secret, State
    from provision.spec.model import Spec

    class Limited(Protocol):
        """What does work with limits on time and memory; it may return JSON."""

        def __call__(self, work: Callable[[], Any], *, what: str, next_step: str) -> Any:
            """Return what the work returns."""


MEMO = "cache/rendered.json"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a spec refers to outside itself, read from the world before anything is decided.

    ``templates`` maps names to texts, ``graphs`` the names of the migrations to their revisions. ``rendered`` are the
    texts that the last run rendered, by the file's name, and ``memo`` tells from what, so that the same is not rendered
    again.
    """

    runtime: str
    templates: Mapping[str, str]
    port: int
    password: Secret
    graphs: Mapping[str, Graph]
    rendered: Mapping[str, str]
    memo: str | None


def files(spec: Spec, inputs: Inputs, limited: Limited) -> dict[str, WriteFile]:
    """Return every file of the environment's directory by name: what the runtime renders first, then the password.

    The password is written where it was generated, and where the runtime mounts it. Templates are rendered within
    ``limited``, because a stranger may have written them.

    Raises:
        ProvisionError: a template is wrong.
    """
    module, texts = runtimes.load(inputs.runtime), inputs.rendered
    is_last = spec.missing and texts.keys() >= module.FILES.keys() and all(texts.values())
    if not is_last and inputs.memo != memo(spec, inputs, texts):
        advice = "correct your templates, then: " + command("render")
        work = partial(module.render, spec, inputs.templates, inputs.port)
        texts = limited(work, what="the templates", next_step=advice) if module.TEMPLATES else {}
    places = module.FILES
    found = {name: WriteFile(spec.home / places[name][0], text, places[name][1]) for name, text in texts.items()}
    if found and (module.MOUNTS_PASSWORD or isinstance(spec.server.password, PasswordGenerated)):
        found["password"] = WriteFile(spec.password_file, inputs.password, 0o600)
    return {**found, "gitignore": WriteFile(spec.home / ".gitignore", "*\n")}


def memo(spec: Spec, inputs: Inputs, rendered: Mapping[str, str]) -> str:
    """Return the note that ties rendered texts to what they were rendered from."""
    outputs = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in rendered.items()}
    return json.dumps({"inputs": _digest(spec, inputs), "outputs": outputs}, indent=1) + "\n"


def _digest(spec: Spec, inputs: Inputs) -> str:
    """Hash everything that a template can see. The password is not among it."""
    server_ = asdict(replace(spec.server, password=PasswordGenerated()))
    data = type(spec.server.data).__name__
    seen = [__version__, inputs.runtime, spec.name, spec.path, inputs.port, server_, data, dict(inputs.templates)]
    return hashlib.sha256(json.dumps(seen, sort_keys=True, default=str).encode()).hexdigest()


def inside(spec: Spec, inputs: Inputs, configuration: str | None) -> dict[Address, State]:
    """Return what shall be in the server; ``configuration`` is the text of the rendered ``postgresql.conf``.

    None: nothing is rendered, and the settings are those of the spec.

    Raises:
        ProvisionError: the configuration cannot be read back, or a migration target does not exist.
    """
    found: dict[Address, State] = {
        **server.desired(spec.name),
        **login.desired(spec.server.user),
        **_settings(spec, configuration),
        **database.desired(spec.server.database),
    }
    for tree in spec.migrations:
        found |= migrations.desired(tree, inputs.graphs[tree.name])
    return found


def _settings(spec: Spec, configuration: str | None) -> dict[Address, State]:
    known = catalogue(spec.server.major)

    def normalised(name: str, value: str) -> str:
        return normalise(known[name], value) if name in known else value

    if configuration is None:
        return foreign_settings.desired({name: str(value) for name, value in spec.server.settings.items()}, normalised)
    try:
        raw = grammar.parse(configuration)
        named = {canonical_name(spec.server.major, name): value for name, value in raw.items()}
        assumed = frozenset(canonical_name(spec.server.major, name) for name in rendering.assumed(spec))
        return settings.desired(named, normalised, assumed=assumed)
    except ValueError as error:
        raise ProvisionError(
            f"the rendered postgresql.conf cannot be used: {error}",
            evidence=[str(spec.home / "config" / "postgresql.conf")],
            next_step="correct your postgresql.conf.j2, then: " + command("render"),
        ) from error


def of_files(spec: Spec, written: Mapping[str, WriteFile]) -> dict[Address, State]:
    """Return the files as states, but for a password that was not read."""
    return file.desired(known(written), spec.home)


def known(written: Mapping[str, WriteFile]) -> tuple[WriteFile, ...]:
    """Return the files without that of a password that was not read."""
    return tuple(each for each in written.values() if each.content is not UNREAD)
