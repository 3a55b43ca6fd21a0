"""``provision destroy``: remove an environment; its data only when that was asked for and confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import load_spec, pass_console, spec_argument, switches

if TYPE_CHECKING:
    from pathlib import Path

    from provision.model import Progress, Result
    from provision.report.console import Console
    from provision.spec.model import Spec


@click.command("destroy", epilog="Example: provision destroy specs/dev.yml")
@spec_argument
@click.option("--data", is_flag=True, help="Remove the data too, for good. Asks for the environment's name.")
@click.option("--yes", is_flag=True, help="Do not ask. Needed to remove data where nobody can answer.")
@switches
@pass_console
def command(console: Console, spec: Path | None, *, data: bool, yes: bool) -> int:
    """Remove the server, and keep its data: apply brings it back with the same rows.

    With --data the data is removed as well, after the environment's name was typed. There is no way back from that.
    """
    from provision.apply import destroy, destruction
    from provision.commands.running import carry_out

    read = load_spec(console, spec, may_lack=True)
    plan = destruction(read, data=data)
    if plan.is_empty:
        console.say(f"{read.name}: nothing to destroy")
        return 0
    removes_data = data or any(step.destroys for step in plan.steps)
    if removes_data and not yes:
        from provision.commands.confirm import confirm

        what = f"the data of {read.name} would be removed for good"
        again = console.line(f"destroy {'--data ' if data else ''}--yes")
        confirm(console, read.name, plan, what=what, again=again)

    def carry(spec: Spec, *, progress: Progress) -> Result:
        return destroy(spec, data=data, progress=progress)

    code = carry_out(console, read, carry, nothing="nothing to destroy")
    if code == 0 and not removes_data and any(step.address.kind != "directory" for step in plan.steps):
        console.say(f"  the data stays; {console.line('apply')} brings the server back")
    return code
