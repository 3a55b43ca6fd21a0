"""``provision list``, and what acts on environments by their names: ``stop --all`` and ``destroy --name``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.commands.options import subcommand
from provision.errors import EXIT_DONE

if TYPE_CHECKING:
    from pathlib import Path

    from provision.model import Result
    from provision.report.console import Console


@subcommand("list", "provision list", argument=None)
def list_(console: Console) -> None:
    """List every environment of this machine and engine, whatever directory it was made in.

    Of each: its state, version, address, revision and size, and where its spec is, or that its directory is gone.
    Nothing is started, and no program of a project is run; what only that would tell is a question mark.
    """
    from provision.api import environments
    from provision.report import listing

    found = environments(environ=console.environ)
    console.show(lambda: listing.document(found), listing.lines(found, console.paint(console.out)), prose=True)
    if found.silence and not console.json:
        console.complain(f"note: those of Docker are not known: {found.silence}")


command = list_


def stop_all(console: Console) -> int:
    """Stop every server that runs and that this user has made from this machine; return the exit code."""
    from provision.everywhere import acting, listing

    others = [each for each in listing(console.environ, inside=False).environments if each.not_mine and each.is_up]
    done = acting.stop_all(console.environ)
    code = max((error.exit_code for *_, error in done if error is not None), default=EXIT_DONE)
    if console.json:
        from provision.report.documents import acted

        console.document(
            [
                acted("stop", row.name, row.spec, found, error=error.sentence if error else None)
                for row, found, error in done
            ]
        )
        return code
    paint = console.paint(console.out)
    for row, found, error in done:
        if error is None:
            lost = "".join(f"; {each.step.consequence}" for each in found.outcomes if each.step.destroys)
            console.say(f"{paint('bold', row.name)}: stopped  ({row.runtime}, {row.directory}){lost}")
        else:
            console.complain(f"{row.name} of {row.directory}: {error.sentence}")
    if not done:
        console.say("nothing of yours runs")
    for row in others:
        console.say(f"{paint('bold', row.name)}: left, {row.not_mine}")
    return code


def destroy_named(console: Console, name: str, directory: Path | None, *, data: bool, yes: bool) -> Path | None:
    """Remove an environment by its name; return its spec where that is there and says the same name.

    The spec knows more: what of the data was made for it, and what its templates have.
    """
    import shlex

    from provision.api import spec_of
    from provision.commands.asking import confirm
    from provision.everywhere import acting
    from provision.report.progress import followed

    row = acting.named(console.environ, name, directory)
    spec = spec_of(row, environ=console.environ)
    if spec is not None:
        return spec
    plan = acting.destruction(row, console.environ, data=data)
    if not yes and any(step.destroys for step in plan.steps):
        where = f"of {row.directory}" + (", which is gone," if row.is_gone else "")
        options = ["destroy", *(["--data"] if data else []), "--yes", "--name", name]
        again = shlex.join(["provision", *options, *(["--directory", str(directory)] if directory else [])])
        confirm(console, name, plan, what=f"the data of {name} {where} would be removed for good", again=again,
                warning=f"This is the environment {where.rstrip(',')}. This cannot be undone.")  # fmt: skip
    with followed(console) as progress:
        done = acting.destroy(row, console.environ, progress, data=data)
    show(console, "destroy", name, None, done, nothing="nothing to destroy without --data")
    return None


def show(console: Console, verb: str, name: str, spec: Path | None, done: Result, *, nothing: str) -> None:
    """Show what was done to a server; ``nothing`` is what to say where that was nothing."""
    if console.json:
        from provision.report.documents import acted

        console.document(acted(verb, name, spec, done))
        return
    from provision.report.plan import recap

    paint = console.paint(console.out)
    if not done.outcomes:
        console.say(f"{paint('bold', name)}: {nothing}")
        return
    console.lines(recap(name, done, paint))
    console.lines(f"  {each.step.consequence}" for each in done.outcomes if each.step.consequence)
