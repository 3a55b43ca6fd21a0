"""``provision migrate``: Alembic's own verbs on the trees of a spec, one a file."""

from __future__ import annotations

from typing import Final

import click

from provision.commands.options import switches
from provision.commands.table import Verbs

COMMANDS: Final = {
    "current": "Show the revision of the database.",
    "history": "List the revisions, newest first. Needs no server.",
    "heads": "List the revisions that nothing follows. Needs no server.",
    "upgrade": "Run the revisions up to a target.",
    "downgrade": "Undo the revisions down to a target; their data goes away.",
    "stamp": "Write a revision into the version table, and run nothing.",
    "sql": "Print the SQL of the revisions, and run nothing.",
    "check": "Compare the models with the database. Changes nothing.",
    "revision": "Write a new revision file.",
    "merge": "Write a revision that joins several heads. Needs no server.",
    "lint": "Look for what is dangerous in pending revisions; --trace runs them on a copy.",
    "test": "Try four laws on scratch databases: one head, empty to head, up-down-up, models.",
}
"""Every verb and its one-line help, in the order of the help page."""
_WORDS: Final = {
    "up": "upgrade",
    "apply": "upgrade",
    "down": "downgrade",
    "status": "current",
    "show": "history",
    "log": "history",
    "diff": "check",
    "new": "revision",
    "create": "revision",
    "generate": "revision",
}
"""What other programs call it."""


@click.group(
    "migrate",
    cls=Verbs,
    table=COMMANDS,
    package="provision.commands.migrate",
    usual="current",
    words=_WORDS,
    answers={"help": ("help is an option", "provision migrate {} --help")},
    invoke_without_command=True,
    subcommand_metavar="VERB [OPTIONS] [SPEC] [ARGUMENTS]...",
    options_metavar="",
    epilog="Example: provision migrate history specs/dev.yml",
)
@switches
@click.pass_context
def command(ctx: click.Context) -> None:
    """Alembic's verbs, with the connection, the interpreter and the options that apply uses.

    They start no server. An argument that ends in .yml or .yaml is the spec, wherever it stands; without one it is
    provision.yml of the current directory. Everything else is Alembic's: a revision, head, +1, -1, FROM:TO.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(64)
