"""``provision golden``: the copies that new data begins with, shown, removed, given to others and taken from them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands.options import help_without_verb, subcommand, switches
from provision.errors import EXIT_DONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.golden.shelf import Kept, Removal
    from provision.report.console import Console


@click.group(
    "golden",
    invoke_without_command=True,
    epilog="Example: provision golden list",
    subcommand_metavar="VERB [ARGUMENTS]",
)
@switches
@click.pass_context
def command(ctx: click.Context) -> None:
    """The copies that new data begins with: list, rm, prune, export and import.

    They need no spec. `apply --golden` saves one, and so does the first stop of a server that no client has written to.
    """
    help_without_verb(ctx)


_verb = partial(subcommand, argument=None, group=command)


@_verb("list", "provision golden list")
def list_(console: Console) -> int:
    """List the goldens, those that were used last first."""
    from provision.golden import shelf

    found = shelf.kept(console.environ)
    return _show(console, found.goldens, "no goldens", silence=found.silence)


@_verb("rm", "provision golden rm 3f2a", click.argument("keys", nargs=-1, required=True, metavar="KEY..."))
def rm(console: Console, keys: tuple[str, ...]) -> int:
    """Remove goldens, each named by the first digits of its key."""
    from provision.golden import shelf

    return _removed(console, shelf.remove(console.environ, keys))


@_verb(
    "prune",
    "provision golden prune",
    click.option("--all", "every", is_flag=True, help="Also those that other users have made in the engine."),
)
def prune(console: Console, *, every: bool) -> int:
    """Remove all goldens that you have made, those of all your projects, on this machine and in the engine.

    The next apply from nothing takes as long as the first one did.
    """
    from provision.golden import shelf

    found = shelf.prune(console.environ, every=every)
    code = _removed(console, found)
    if found.others:
        console.complain(f"note: {found.others} of other users in the engine stay; `--all` removes them too")
    return code


@_verb(
    "export",
    "provision golden export 3f2a shop.golden",
    click.argument("key", metavar="KEY"),
    click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE"),
)
def export(console: Console, key: str, file: Path) -> int:
    """Write a golden of Docker into a new file, for the cache of a pipeline; its SHA-256 is printed."""
    from provision.golden import shelf

    found = shelf.export(console.environ, key, file)
    code = _show(console, (found,), "", done=f"written to {file}: ")
    if not console.json:
        import hashlib

        with file.open("rb") as written:
            console.put(hashlib.file_digest(written, "sha256").hexdigest())
    return code


@_verb(
    "import",
    "provision golden import shop.golden --sha256 DIGEST",
    click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE"),
    click.option(
        "--sha256", required=True, metavar="DIGEST", help="The SHA-256 of the file: it is trusted as an image is."
    ),
)
def import_(console: Console, file: Path, *, sha256: str) -> int:
    """Take a golden of Docker from a file."""
    from provision.golden import shelf

    return _show(console, (shelf.take(console.environ, file, sha256),), "", done="taken: ")


def _removed(console: Console, found: Removal) -> int:
    if found.error is None or (found.gone and not console.json):
        _show(console, found.gone, "no goldens of yours", done="removed ", silence=found.silence)
    if found.error is not None:
        raise found.error
    return EXIT_DONE


def _show(console: Console, found: Sequence[Kept], nothing: str, *, done: str = "", silence: str = "") -> int:
    from provision.report import golden as report

    lines = [f"{done}{line}" for line in report.lines(found, console.paint(console.out))]
    console.show(lambda: report.document(found), lines, prose=True, recap="" if found else nothing)
    if silence:
        console.complain(f"note: those of Docker are not known: {silence}")
    return EXIT_DONE
