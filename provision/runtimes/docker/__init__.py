"""The server in a container of a Docker engine.

Whoever asks where an environment lives loads this module, also where it is not in Docker: so the rest is loaded later.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from provision.errors import UnavailableError
from provision.model.value import replace
from provision.runtimes import another_port, here
from provision.runtimes.names import COMPOSE, DECLARED, DIRECTORY, ENVIRONMENT, LINK
from provision.spec.model import DataPath, Ephemeral, Spec, Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model import File
    from provision.runtimes.docker.site import DockerSite
    from provision.system.look import Look

CONFIG = "config/postgresql.conf"
SERVER = "config/postgres"
FILES = {"compose": (COMPOSE, 0o644), "configuration": (CONFIG, 0o644), "entrypoint": (SERVER, 0o755)}
MOUNTS_PASSWORD = True
MAKES_DATABASE = True
TEMPLATES = ("docker-compose.yml.j2", "postgresql.conf.j2", "postgres.sh.j2")


def made(spec: Spec, look: Look, *, surely: bool = False) -> str | None:
    """Return the engine where a compose file, or the container, shows that this environment lives in it.

    ``surely``: the compose file counts only with the container or data that it names, which the engine is asked for.
    """
    rendered = look.text(spec.home / COMPOSE)
    # An embedded server that was started here later has data; the compose file was rendered, and never applied.
    if rendered is not None and not look.exists(spec.home / LINK):
        from provision.runtimes.docker import data_contents

        is_ours = not surely or data_contents.is_applied(rendered, spec.home / COMPOSE, look)
        return look.engine_name if is_ours else None
    if look.exists(spec.home):
        return None
    try:
        container = _container(spec, look)
    except UnavailableError:
        return None
    labels = container["Config"]["Labels"] if container is not None else {}
    is_ours = labels.get(DIRECTORY) == str(spec.kept_in) and labels.get(ENVIRONMENT) == spec.name
    return look.engine_name if is_ours else None


def _container(spec: Spec, look: Look) -> Mapping[str, Any] | None:
    from provision.runtimes.docker import containers

    return containers.inspect(look, spec.server.container_name)


def available(_spec: Spec, look: Look) -> str:
    """Return the engine.

    Raises:
        UnavailableError: none answers.
    """
    look.reader.ping()
    return look.engine_name


def port(spec: Spec, look: Look) -> int:
    """Return the declared port; for ``auto`` the one of the rendered file or the container, or one that is free."""
    if spec.server.port is not None:
        return spec.server.port
    remembered = _remembered(spec, look)
    if remembered and spec.server.may_have(remembered) and not look.is_left(remembered):
        return remembered
    return another_port(spec, look, lambda: _published(look))


def _remembered(spec: Spec, look: Look) -> int:
    """Return the port of the rendered file or the container; 0 where there is none."""
    if port := _rendered(spec, look):
        return port
    container = _container(spec, look)
    if container is not None and container["Config"]["Labels"].get(DIRECTORY) == str(spec.kept_in):
        for bindings in container["HostConfig"]["PortBindings"].values():
            return int(bindings[0]["HostPort"])
    return 0


def _rendered(spec: Spec, look: Look) -> int:
    match = re.search(r":(\d+):5432\b", look.text(spec.home / COMPOSE) or "")
    return int(match[1]) if match else 0


def approach(spec: Spec, look: Look) -> None:
    """Begin to open the tunnel to a server behind ssh that was made before: two logins take the time of one."""
    if port := _rendered(spec, look):
        look.approach(here(spec.server.host), port, spec.home)


def _published(look: Look) -> set[int]:
    """Return the ports of the engine's containers, also of those of ours that do not run."""
    found = set()
    for each in look.engine("/containers/json", all=1) or ():
        found |= {int(at["PublicPort"]) for at in each.get("Ports") or () if at.get("PublicPort")}
        declared = json.loads((each.get("Labels") or {}).get(DECLARED) or "{}")
        found |= {int(port) for port in re.findall(r":([0-9]+) to ", str(declared.get("ports", "")))}
    return found


def located(spec: Spec, look: Look) -> Spec:
    """Return the spec with the volume that holds the data now, and with what the image says of itself.

    That volume may be the one that an upgrade has filled. The image says where it keeps the data, and which major
    version it is, where the spec does not; one that was not pulled yet says nothing.
    """
    from provision.runtimes.docker import data_location, generations, golden_image

    found = generations.located(spec, look)
    image = look.image(spec.server.image) or _image_of_container(spec, look)
    if image is None:
        return found
    if isinstance(spec.server.data, Ephemeral):
        found = golden_image.running(found, image, _container(spec, look), look)
    major = spec.server.major or data_location.major(image["Config"])
    where = data_location.of_image(image["Config"], major)
    return replace(found, server=replace(found.server, major=major, layout=where))


def _image_of_container(spec: Spec, look: Look) -> Mapping[str, Any] | None:
    """Return the image that the container was made from, where the declared one was removed from the engine."""
    from provision.runtimes.docker import containers, golden_image

    container = _container(spec, look)
    if container is None:
        return None
    image = look.image(container["Image"])
    name = golden_image.labels_of(image).get(golden_image.BASE_NAME, container["Config"]["Image"])
    return golden_image.base(image, look) if containers.is_same_image(name, spec.server.image) else None


def identity(spec: Spec, look: Look) -> str:
    """Return the id of the image, which names one build of its programs."""
    return str((look.image(spec.server.image) or {}).get("Id", ""))


def examine(spec: Spec, files: Mapping[str, File], look: Look) -> DockerSite:
    """Look at everything in the engine that the compose file among ``files`` names.

    Raises:
        RefusedError: it belongs to something else.
    """
    from provision.runtimes.docker import site

    return site.examine(spec, files, look)


def prepare(look: Look) -> None:
    """Load what :func:`examine` needs, and ask early what a near engine is slow to answer."""
    from provision.runtimes.docker import site  # noqa: F401

    if look.address.socket_path is not None:
        _ = look.engine_info


def render(spec: Spec, texts: Mapping[str, str], port: int) -> dict[str, str]:
    """Render the compose file, with the fingerprint of what it creates, and the server's configuration."""
    from provision.rendering import render_template, values as common
    from provision.runtimes.docker import compose, data_location, golden_image, scripts, spec_label

    data = spec.server.data
    if isinstance(data, Ephemeral) and data.golden:
        spec = replace(spec, server=replace(spec.server, image=golden_image.reference(data.golden)))
    values = {
        **common(spec, port),
        "publish": f"[{spec.server.host}]" if ":" in spec.server.host else spec.server.host,
        "data_target": data_location.of_spec(spec).mount,
        "data_path": str(data.path) if isinstance(data, DataPath) else None,
        "volume": data.name if isinstance(data, Volume) else None,
        "scripts": scripts.targets(spec.server.initdb),
        "fingerprint": compose.FINGERPRINT_PLACEHOLDER,
        "declared": spec_label.declared(spec, port),
        "listen_addresses": "*",
        "listen_port": None,
    }
    composed = render_template("docker-compose.yml.j2", texts, values)
    return {
        "compose": compose.with_fingerprint(composed, spec.home / COMPOSE),
        "configuration": render_template("postgresql.conf.j2", texts, values),
        "entrypoint": render_template("postgres.sh.j2", texts, values),
    }
