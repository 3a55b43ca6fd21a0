"""``provision upgrade``: bring the data to the major version of the spec's image."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Final

import click

from provision.commands.options import json_option, load_spec, pass_console, spec_argument, switches
from provision.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.model import Plan, Progress, Result
    from provision.report.console import Console
    from provision.spec.model import Spec

_SPEC_LIKE: Final = re.compile(r"/|\.ya?ml$")


class _Upgrade(click.Command):
    """A command that many know from Alembic, about revisions: what cannot be a spec is answered with that one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse a revision in place of a spec.

        Raises:
            provision.errors.UsageError: one of the words has the look of a revision.
        """
        for word in args:
            if not word.startswith("-") and not _SPEC_LIKE.search(word) and not Path(word).exists():
                raise UsageError(
                    f"`{word}` is no spec, and `provision upgrade` is about the major version of PostgreSQL",
                    next_step=f"for revisions it is: provision migrate upgrade {join(args)}",
                )
        return super().parse_args(ctx, args)


@click.command("upgrade", cls=_Upgrade, epilog="Example: provision upgrade --check specs/dev.yml")
@spec_argument
@click.option("--check", is_flag=True, help="Only show what would be done. Changes nothing.")
@click.option("--finish", is_flag=True, help="Remove the old data, which an upgrade keeps.")
@click.option("--rollback", is_flag=True, help="Go back to the old data; what was written since is lost.")
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody can answer.")
@json_option
@switches
@pass_console
def command(console: Console, spec: Path | None, *, check: bool, finish: bool, rollback: bool, yes: bool) -> int:
    """Copy the data to a new place of the newer version, compare it, and switch to it.

    Whoever writes waits meanwhile, readers do not; at the switch connections are dropped for a moment. The old data is
    kept until --finish, and --rollback goes back to it. Whatever fails, the old server goes on as it was.
    """
    if finish and rollback:
        raise click.UsageError("--finish and --rollback exclude each other")
    read = load_spec(console, spec)
    if finish:
        return _finish(console, read, check=check, yes=yes)
    if rollback:
        return _rollback(console, read, check=check, yes=yes)
    return _upgrade(console, read, check=check, yes=yes)


def _upgrade(console: Console, spec: Spec, *, check: bool, yes: bool) -> int:
    from provision import upgrade

    found = upgrade.survey(spec)
    major = found.world.spec.server.major
    if found.plan.is_empty and not found.is_pending:
        return _nothing(console, spec, f"nothing to upgrade (the data is of PostgreSQL {major})")
    if check:
        return _show(console, spec, found.plan)
    _confirm(console, spec, found.plan, "", yes=yes)

    def carry(progress: Progress) -> Result:
        return upgrade.upgrade(spec, progress=progress)

    _carry(console, spec, carry)
    if not console.json:
        console.say(f"  PostgreSQL {found.major} → {major}; the old data is kept")
        _suggest(
            console,
            {
                console.line("upgrade --finish"): "remove the old data",
                console.line("upgrade --rollback"): "go back to it",
            },
        )
    return 0


def _finish(console: Console, spec: Spec, *, check: bool, yes: bool) -> int:
    from provision import upgrade

    plan = upgrade.finishing(spec)
    if plan.is_empty:
        return _nothing(console, spec, "nothing is kept")
    if check:
        return _show(console, spec, plan)
    _confirm(console, spec, plan, "--finish ", yes=yes)

    def carry(progress: Progress) -> Result:
        return upgrade.finish(spec, progress=progress)

    return _carry(console, spec, carry)


def _rollback(console: Console, spec: Spec, *, check: bool, yes: bool) -> int:
    from provision import upgrade

    plan, origin = upgrade.returning(spec)
    if check:
        return _show(console, spec, plan)
    _confirm(console, spec, plan, "--rollback ", yes=yes)

    def carry(progress: Progress) -> Result:
        return upgrade.rollback(spec, progress=progress)

    _carry(console, spec, carry)
    if not console.json and origin.image != spec.server.image:
        programs = f", with the programs in {origin.bin_dir}" if origin.bin_dir is not None else ""
        name = console.spec or spec.path.name
        console.say(f"  the server runs {origin.image} again{programs}: write that image into {name}")
    return 0


def _confirm(console: Console, spec: Spec, plan: Plan, flag: str, *, yes: bool) -> None:
    """Show what would be done, and ask for the name of the environment."""
    from provision.commands.server import confirm

    if yes:
        return
    is_final = any(step.destroys for step in plan.steps)
    what = "data would be removed for good" if is_final else "writers would wait"
    again = console.line(f"upgrade {flag}--yes")
    confirm(console, spec.name, plan, what=what, again=again, is_final=is_final)


def _show(console: Console, spec: Spec, plan: Plan) -> int:
    if console.json:
        from provision.report.documents import upgrade_plan

        console.document(upgrade_plan(spec, plan))
        return 0
    from provision.report import plan as report

    paint = console.paint(console.out)
    console.say(f"{paint('bold', spec.name)}: this would be done")
    for line in report.lines(plan, paint, verbose=console.verbose):
        console.say(line)
    return 0


def _carry(console: Console, spec: Spec, carry: Callable[[Progress], Result]) -> int:
    from provision.report.progress import followed

    with followed(console) as progress:
        done = carry(progress)
    if console.json:
        from provision.report.documents import upgrade_result

        console.document(upgrade_result(spec, done))
        return 0
    from provision.report.plan import recap

    for line in recap(spec.name, done, console.paint(console.out)):
        console.say(line)
    return 0


def _nothing(console: Console, spec: Spec, what: str) -> int:
    if console.json:
        from provision.model import Result
        from provision.report.documents import upgrade_result

        console.document(upgrade_result(spec, Result((), console.elapsed())))
    else:
        console.say(f"{console.paint(console.out)('bold', spec.name)}: {what}")
    return 0


def _suggest(console: Console, commands: dict[str, str]) -> None:
    from provision.report.survey import suggestions

    for line in suggestions(commands, console.paint(console.out)):
        console.say(line)
