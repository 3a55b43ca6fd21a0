"""What a run keeps for the next one, and for `provision list`; none of it says anything of the server."""

from __future__ import annotations

from contextlib import suppress

from provision import desired as desires, runtimes
from provision.apply import schema_file
from provision.errors import ProvisionError
from provision.observe.outside import World
from provision.runtimes.names import ADOPTED, ENGINE, SUPERUSER
from provision.spec.model import Spec
from provision.spec.parameters import MAJORS
from provision.system import files as filesystem, lock, owned

GOOD = "cache/postgresql.conf"
"""The last configuration that the server was proved to run with, below the environment's directory."""


def freshen(world: World) -> None:
    """Narrow directories, keep the caches and tidy up after a run that was killed; where it may write that."""
    with suppress(ProvisionError):
        owned.keep(world.spec.home)
        remember(world)
        with lock.hold(world.spec.home / "lock", timeout=0, waiting=lambda _: None):
            claim = world.site.claim(creating=False)
            for path in filter(None, map(lock.beside, claim.paths if claim else ())):
                with lock.hold_data(path, "", lock.Wait(0, lambda _: None)):
                    pass  # that of a run that was killed is removed


def remember(world: World, *, proved: bool = False) -> None:
    """Keep what was rendered and read for the next run; these are caches and say nothing about the server.

    ``proved``: the server was started with, or has read, all of the configuration.
    """
    remember_engine(world)
    remember_rendered(world)
    world.trees.remember()
    schema_file.refresh(world.spec)
    if world.spec.server.major not in MAJORS:
        from provision.system import catalogue

        catalogue.remember(world.spec, runtimes.load(world.runtime).identity(world.spec, world.look))
    _list(world)
    name, path = world.spec.server.user, world.spec.home / SUPERUSER
    if world.site.is_ours and owned.text(path) != name:
        filesystem.write_atomically(path, name, 0o644)
    wanted = world.files.get("configuration")
    if proved and wanted is not None and owned.text(world.spec.home / GOOD) != wanted.content:
        filesystem.write_atomically(world.spec.home / GOOD, str(wanted.content), wanted.mode)


def adopt(spec: Spec) -> None:
    """Note that what was made under the same name in a directory that is gone belongs to this one."""
    filesystem.write_atomically(spec.home / ADOPTED, "", 0o644)


def _list(world: World) -> None:
    """Note where the environment is, for `provision list`; a server that others run is not in it."""
    if not world.site.is_ours:
        return
    from provision.system.register import Entry, Tree, keep, machine

    spec, data = world.spec, world.site.data_directory or getattr(world.spec.server.data, "path", None)
    trees = tuple(
        [
            Tree(each.name, spec.database_of(each), each.version_table, each.version_table_schema)
            for each in spec.migrations
        ]
    )
    path = "" if spec.text is not None else str(spec.path)
    keep(Entry(str(spec.home), path, world.runtime, str(data or ""), spec.server.user, trees, machine()))


def remember_rendered(world: World) -> None:
    """Keep the note that ties rendered files to what they were rendered from."""
    texts = {name: text for name in world.inputs.rendered if (text := filesystem.read_text(world.files[name].path))}
    memo = desires.memo(world.spec, world.inputs, texts)
    if memo != world.inputs.memo:
        filesystem.write_atomically(world.spec.home / desires.MEMO, memo, 0o644)


def remember_engine(world: World) -> None:
    """Keep the address of the engine, so that the next run finds it; one that the user names changes no address."""
    if world.runtime != "docker" or (url := world.look.address_to_keep) is None:
        return
    path = world.spec.home / ENGINE
    kept = owned.text(path)
    if kept is None or (kept != url and not world.look.address.is_named):
        filesystem.write_atomically(path, url, 0o644)
