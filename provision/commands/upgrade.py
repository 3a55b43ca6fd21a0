"""``provision upgrade``: bring the data to the major version of the spec's image."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Final

import click

from provision.commands.options import FINAL, confirm, load_environment, subcommand
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.model import Plan
    from provision.report.console import Console
    from provision.spec.model import Spec
    from provision.upgrade import Survey, Verb

_SPEC_LIKE: Final = r"/|\.ya?ml$"


class _Upgrade(click.Command):
    """Alembic has a command of this name for revisions, so a revision in place of a spec gets an answer of its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse a revision in place of a spec.

        Raises:
            provision.errors.UsageError: one of the words has the look of a revision.
        """
        for word in args:
            if not word.startswith("-") and not re.search(_SPEC_LIKE, word) and not Path(word).exists():
                raise UsageError(
                    f"`{word}` is not a spec file; `provision upgrade` upgrades PostgreSQL itself",
                    next_step=f"for revisions: provision migrate upgrade {join(args)}",
                )
        return super().parse_args(ctx, args)


@subcommand(
    "upgrade",
    "provision upgrade --check specs/dev.yml",
    click.option("--check", is_flag=True, help="Only show what would be done. Changes nothing."),
    click.option("--finish", is_flag=True, help="Remove the old data, which an upgrade keeps."),
    click.option("--rollback", is_flag=True, help="Go back to the old data; what was written since is lost."),
    click.option("--yes", is_flag=True, help="Do not ask. Needed without a terminal."),
    cls=_Upgrade,
)
def command(console: Console, spec: Path | None, *, check: bool, finish: bool, rollback: bool, yes: bool) -> int:
    """Copy the data to a new place of the newer version, compare it, and switch to it.

    Writers wait meanwhile, readers do not; at the switch connections are dropped for a moment. The old data is kept
    until --finish, and --rollback goes back to it. If anything fails, the old server keeps running as it was.
    """
    from provision.upgrade import Verb, survey

    if finish and rollback:
        raise click.UsageError("--finish and --rollback exclude each other")
    verb = Verb.FINISH if finish else Verb.ROLLBACK if rollback else Verb.UPGRADE
    read = load_environment(console, spec).spec
    found = survey(read, verb)
    if found.plan.is_empty and not found.is_pending:
        what = "nothing is kept"
        if verb is Verb.UPGRADE:
            what = f"nothing to upgrade (there is no data from before PostgreSQL {found.world.spec.server.major})"
        return _nothing(console, read, what)
    if check:
        return _show(console, read, found.plan)
    if not yes:
        _confirm(console, read, found.plan, verb)
    origin = found.upgrader.origin() if verb is Verb.ROLLBACK else None
    _carry_out(console, read, verb)
    if console.json:
        return 0
    if verb is Verb.UPGRADE:
        _say_upgraded(console, found)
    elif origin is not None and origin.image != read.server.image:
        programs = f", with the programs in {origin.bin_dir}" if origin.bin_dir is not None else ""
        name = console.path or read.path.name
        console.say(f"  the server runs {origin.image} again{programs}: write that image into {name}")
    return 0


def _say_upgraded(console: Console, found: Survey) -> None:
    from provision.report.survey import suggestions

    console.say(f"  PostgreSQL {found.upgrader.major} → {found.world.spec.server.major}; the old data is kept")
    commands = {
        console.line("upgrade --finish"): "remove the old data",
        console.line("upgrade --rollback"): "go back to it",
    }
    console.lines(suggestions(commands, console.paint(console.out)))


def _confirm(console: Console, spec: Spec, plan: Plan, verb: Verb) -> None:
    """Show what would be done, and ask for the name of the environment."""
    is_final = any(step.destroys for step in plan.steps)
    what = "data would be removed for good" if is_final else "writers would wait"
    again = console.line(" ".join(filter(None, ("upgrade", verb.value, "--yes"))))
    confirm(console, spec.name, plan, what=what, again=again, warning=FINAL if is_final else "")


def _show(console: Console, spec: Spec, plan: Plan) -> int:
    from provision.report import plan as report
    from provision.report.documents import upgrade_plan

    paint = console.paint(console.out)
    steps = report.lines(plan, paint, verbose=console.verbose)
    said = (f"{paint('bold', spec.name)}: this would be done", *steps)
    console.show(lambda: upgrade_plan(spec, plan), said, talk=True)
    return 0


def _carry_out(console: Console, spec: Spec, verb: Verb) -> None:
    from provision.report.documents import upgrade_result
    from provision.report.plan import recap
    from provision.report.progress import followed
    from provision.upgrade import carry_out

    with followed(console) as progress:
        done = carry_out(spec, verb, progress=progress)
    console.show(lambda: upgrade_result(spec, done), recap(spec.name, done, console.paint(console.out)), talk=True)


def _nothing(console: Console, spec: Spec, what: str) -> int:
    from provision.model import Result
    from provision.report.documents import upgrade_result

    said = f"{console.paint(console.out)('bold', spec.name)}: {what}"
    console.show(lambda: upgrade_result(spec, Result((), console.elapsed())), [said], talk=True)
    return 0
