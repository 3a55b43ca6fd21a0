"""Spec → Desired: what shall be there, as far as it can be said before looking at the server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from provision import runtimes
from provision.errors import command
from provision.kinds import Inputs, table
from provision.kinds.database import first as first_database
from provision.model import UNREAD, Address, Desired, File, State
from provision.model.value import asdict, replace
from provision.spec.model import Spec
from provision.spec.passwords import PasswordGenerated
from provision.version import __version__

MEMO = "cache/rendered.json"


class Limited(Protocol):
    """What does work with limits on time and memory; it may return JSON."""

    def __call__(self, work: Callable[[], Any], *, what: str, next_step: str) -> Any:
        """Return what the work returns."""


def files(spec: Spec, inputs: Inputs, limited: Limited) -> dict[str, File]:
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
    found = {name: File(spec.home / places[name][0], text, places[name][1]) for name, text in texts.items()}
    if found and (module.MOUNTS_PASSWORD or isinstance(spec.server.password, PasswordGenerated)):
        found["password"] = File(spec.password_file, inputs.password, 0o600)
    return {**found, "gitignore": File(spec.home / ".gitignore", "*\n")}


def memo(spec: Spec, inputs: Inputs, rendered: Mapping[str, str]) -> str:
    """Return the note that ties rendered texts to what they were rendered from."""
    outputs = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in rendered.items()}
    return json.dumps({"inputs": _digest(spec, inputs), "outputs": outputs}, indent=1) + "\n"


def _digest(spec: Spec, inputs: Inputs) -> str:
    """Hash everything that a template can see. The password is not among it."""
    server_ = asdict(replace(spec.server, password=PasswordGenerated()))
    data = type(spec.server.data).__name__
    seen = [
        __version__,
        inputs.runtime,
        spec.name,
        spec.path,
        inputs.port,
        server_,
        data,
        first_database(spec),
        dict(inputs.templates),
    ]
    return hashlib.sha256(json.dumps(seen, sort_keys=True, default=str).encode()).hexdigest()


def desired(spec: Spec, inputs: Inputs, files: Mapping[str, File], site: Desired) -> dict[Address, State]:
    """Return everything that the spec asks for; ``site`` is what its runtime wants.

    Raises:
        ProvisionError: something that the spec refers to is wrong.
    """
    before, inside = [
        {address: state for kind in kinds for address, state in kind.wanted(spec, inputs, files).items()}
        for kinds in (table.BEFORE, table.inside(spec, inputs.runtime))
    ]
    return {**before, **site, **inside}


def known(written: Mapping[str, File]) -> tuple[File, ...]:
    """Return the files without that of a password that was not read."""
    return tuple(each for each in written.values() if each.content is not UNREAD)
