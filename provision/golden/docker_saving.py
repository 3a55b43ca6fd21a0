"""How a golden is made of the data of an environment in Docker: an image of a container of its own image.

The data goes through this process, because a container can mount neither the layer of another one nor its memory.
"""

from __future__ import annotations

import io
import json
import posixpath
import secrets
import shlex
from typing import IO, TYPE_CHECKING, Any

from provision.errors import StepFailedError
from provision.golden import control, keyed, saving, scrub
from provision.golden.docker_store import ImageStore, packed
from provision.golden.inputs import OWN_VARIABLES
from provision.golden.key import Golden
from provision.model import MAINTENANCE, Secret
from provision.model.value import replace
from provision.runtimes.docker import containers, data_location, golden_image
from provision.runtimes.docker.golden_image import ABOUT, BASE, BASE_NAME, ENVIRONMENT, KEY, PLACE, USER
from provision.system import golden_images
from provision.system.golden_images import Making, Workshop, working

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator, Mapping

    from provision.model.effects import SaveGolden
    from provision.runtimes.docker.site import DockerSite
    from provision.system.engine_calls import Engine

_READ = (saving.AUTO_CONF, *saving.CONFIGURATION)
_ARGUMENTS = "POSTGRES_INITDB_ARGS"
_SCRIPTS = "ls -A /docker-entrypoint-initdb.d 2>/dev/null || :"
# The entrypoint makes the data, and ends where it would become the server.
_INITIALISE = """export BASH_ENV=/dev/shm/postgres
echo 'exec() { [ "$1" = postgres ] || builtin exec "$@"; }' >$BASH_ENV
exec "$@" postgres </dev/null
"""
# What the server writes meanwhile is in its log: so that is read last, and where to begin in it before all that can
# change. `tar` ends with 1 where a file changed while it was read.
_RUNNING = """cd {directory} || exit 2
part() {{ tar -cf - "$@"; test $? -le 1; }}
part --exclude=./pg_wal --exclude=./base --exclude=./global . && part ./global/pg_control &&
part --exclude=./global/pg_control ./global ./base && part ./pg_wal
"""
_END_OF_LOG = """cd "$1"
for each in *; do
    case $each in "$2" | archive_status | summaries) ;; *) rm -rf -- "$each" ;; esac
done
truncate -s "$3" "$2"
truncate -s "$4" "$2"
rm -f ../postmaster.pid ../postmaster.opts
"""
# Lines of text, because grep of BusyBox takes a zero byte for the end of its line.
_VERIFIERS = """cd "$1" && find . -type f -exec cat {} + |
    LC_ALL=C tr -cs 'A-Za-z0-9_+/=$:-' '\\n' | grep -F 'SCRAM-SHA-256$' | sort -u
"""


def save(site: DockerSite, effect: SaveGolden) -> None:
    """Make the image of a golden; those used least recently go.

    Raises:
        ProvisionError: it must not be kept, or cannot; there is none then.
    """
    look, store, golden = site.look, ImageStore(site.look), Golden.read(json.loads(effect.about))
    container = containers.inspect(look, site.container_name)
    base = golden_image.base(look.image(container["Image"]), look) if container is not None else None
    if golden is None or container is None or base is None:
        raise StepFailedError("the container that it would be made from, or its image, is gone")
    engine, runs = store.engine, bool(container["State"]["Running"])
    directory = data_location.data_directory(container["Config"], site.spec.server.major)
    with working(engine, _making(site, golden, base)) as workshop:
        if golden.level == 0:
            data = _initialised(workshop, site)
        else:
            if not runs:
                saving.check(effect, golden_images.read(engine, site.container_name, f"{directory}/{control.PATH}"))
            data = _Data(_stream(engine, site.container_name, directory, runs=runs))
            workshop.fill(data)
            if runs:  # it makes good what is in the log only, as after a crash
                _run_alone(workshop, MAINTENANCE, Secret(""))
                saving.check(effect, workshop.read(control.PATH))
        saving.check_contents(effect, data.sizes, data.kept)
        _clean(workshop, effect, data)
        workshop.commit(_labels(site, replace(golden, size=data.size), base, store.user))
    store.prune(but=golden.key)


def _initialised(workshop: Workshop, site: DockerSite) -> _Data:
    """Have the image's entrypoint make the data of a server in which nothing is declared yet."""
    making, entrypoint = workshop.making, workshop.making.config.get("Entrypoint") or ()
    if not entrypoint:
        raise StepFailedError("the image has no entrypoint, which would make an empty server")
    workshop.fill(())
    if found := workshop.run(("sh", "-c", _SCRIPTS), Secret("")).split():
        raise StepFailedError(f"the image has scripts of its own ({found[0]}), so it makes no empty server")
    given = dict(each.split("=", 1) for each in site.creation.body.get("Env", ()) if "=" in each)
    arguments = f"{given.get(_ARGUMENTS, '')} --no-sync"
    own = {"POSTGRES_USER": scrub.SUPERUSER, "POSTGRES_DB": MAINTENANCE, "POSTGRES_PASSWORD": secrets.token_urlsafe()}
    kept = {name: value for name, value in given.items() if not f"{name}=".startswith(OWN_VARIABLES)}
    variables = {**kept, **own, "PGDATA": making.directory, _ARGUMENTS: arguments}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    workshop.run(("sh", "-es", *entrypoint), Secret("\n".join([*lines, _INITIALISE])))
    data = _Data(golden_images.archive(workshop.engine, making.container, making.directory))
    for _ in data:
        pass  # only to see what there is
    workshop.run(("sh", "-c", 'cd "$1" && shift && rm -rf -- "$@"', "sh", making.directory, *data.left_out), Secret(""))
    workshop.user = workshop.run(("stat", "-c", "%u:%g", making.directory), Secret("")).strip()
    return data


def _stream(engine: Engine, container: str, directory: str, *, runs: bool) -> Iterator[bytes]:
    if runs:
        script = _RUNNING.format(directory=shlex.quote(directory))
        return golden_images.archive_of_running(engine, container, script)
    return golden_images.archive(engine, container, directory)


class _Data:
    """The entries of an archive of a data directory that go into a golden, with what was seen of all."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream = stream
        self.sizes: dict[str, int] = {}
        self.size = 0
        self.left_out: list[str] = []
        self.kept: dict[str, bytes] = {}
        """What is in the files that tell what may be kept."""

    def __iter__(self) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        for entry, content in golden_images.entries(self._stream):
            entry.name = posixpath.normpath(entry.name)
            if entry.name == ".":
                yield entry, content
                continue
            self.sizes[entry.name] = entry.size
            self.size += entry.size
            if self.size > 2 * saving.LARGEST:
                raise StepFailedError("it has more than 1 GB")
            if scrub.leaves(entry.name):
                self.left_out.append(entry.name)
                continue
            if not (entry.isfile() or entry.isdir()):
                raise StepFailedError(f"{entry.name} is neither a file nor a directory")
            if entry.name in _READ and content is not None:
                self.kept[entry.name] = content.read()
                yield entry, io.BytesIO(self.kept[entry.name])
            else:
                yield entry, content


def _clean(workshop: Workshop, effect: SaveGolden, data: _Data) -> None:
    """Take the secrets out of the data, and the log that has them once more."""
    password = keyed.password(effect.key)
    keyed.keep_key()  # or no run could log in to a copy with it
    for each in (*[name for name in effect.databases if name != MAINTENANCE], MAINTENANCE):
        saving.check_sequences(effect, each, _run_alone(workshop, each, scrub.script(each, password)))
    found = scrub.control_of(workshop.read(control.PATH))
    size = next((size for name, size in data.sizes.items() if scrub.is_old_log(name, "") and size), 0)
    if not size:
        raise StepFailedError("it has no write-ahead log")
    segment = found.segment(size)
    end = control.end_of_log(found, size, workshop.read(f"pg_wal/{segment}"))
    log = f"{workshop.making.directory}/pg_wal"
    workshop.run(("sh", "-ec", _END_OF_LOG, "sh", log, segment, str(end), str(size)), Secret(""))
    scrub.check(workshop.run(("sh", "-c", _VERIFIERS, "sh", workshop.making.directory), Secret("")).encode())


def _run_alone(workshop: Workshop, database: str, script: Secret) -> str:
    """Run the server alone on the data, and return what it says; it ends well whatever its statements come to."""
    argv = ("postgres", "--single", *scrub.OPTIONS, "-D", workshop.making.directory, database)
    return scrub.said(database, workshop.run(argv, script))


def _making(site: DockerSite, golden: Golden, base: Mapping[str, Any]) -> Making:
    layout = data_location.of_image(base["Config"], site.spec.server.major)
    below = posixpath.relpath(layout.directory, layout.mount)
    making = Making(
        container=golden_image.helper(site.container_name),
        image=str(base["Id"]),
        reference=golden_image.reference(golden.key),
        place=PLACE,
        below="" if below == "." else below,
        like=layout.mount,
        config=base["Config"],
    )
    environment = [each for each in base["Config"].get("Env") or () if not each.startswith("PGDATA=")]
    return replace(making, config={**base["Config"], "Env": [*environment, f"PGDATA={making.directory}"]})


def _labels(site: DockerSite, golden: Golden, base: Mapping[str, Any], user: str) -> dict[str, str]:
    names = {BASE: str(base["Id"]), BASE_NAME: site.spec.server.image, USER: user}
    own = {KEY: golden.key, ABOUT: packed(golden), **names, **({ENVIRONMENT: site.spec.name} if golden.level else {})}
    return {**(base["Config"].get("Labels") or {}), **own}
