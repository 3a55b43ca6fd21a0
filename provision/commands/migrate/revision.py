"""``provision migrate revision``: write a new revision file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import (
    MigrateCommand,
    message_option,
    none,
    on_a_tree,
    open_tree,
    show_written,
    split,
)
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command(
    "revision",
    cls=MigrateCommand,
    epilog="Example: provision migrate revision --autogenerate -m 'add email' specs/dev.yml",
)
@on_a_tree
@message_option
@click.option("--autogenerate", is_flag=True, help="Fill it with what differs between models and database.")
@click.option("--allow-empty", is_flag=True, help="With --autogenerate: write it even when nothing differs.")
@click.option("--head", metavar="REVISION", help="What it shall follow, where the tree has several heads.")
@click.option("--splice", is_flag=True, help="With --head: it may follow a revision that is no head.")
@click.option("--branch-label", metavar="LABEL", help="A label for the branch that begins with it.")
@click.option("--version-path", metavar="PATH", help="Its directory, where the tree has several.")
@click.option("--rev-id", metavar="ID", help="Its id, in place of one that is made up.")
@click.option("--depends-on", multiple=True, metavar="REVISION", help="What must be applied before it, beside that.")
@json_option
@switches
@pass_console
def command(  # noqa: PLR0913  # Alembic's options
    console: Console,
    words: tuple[str, ...],
    tree: str | None,
    *,
    message: str,
    autogenerate: bool,
    allow_empty: bool,
    head: str | None,
    splice: bool,
    branch_label: str | None,
    version_path: str | None,
    rev_id: str | None,
    depends_on: tuple[str, ...],
) -> None:
    """Write a new revision file from the template of the tree.

    With --autogenerate it holds what differs between the models of env.py and the database, which has to be at head;
    that needs the server. When nothing differs, no file is written.
    """
    from provision.alembic.verbs.writing import Wanted, revision

    given, rest = split(words)
    none(rest)
    chosen = open_tree(console, given, tree)
    wanted = Wanted(message, autogenerate, allow_empty, head, splice, branch_label, version_path, rev_id, depends_on)
    show_written(console, chosen, revision(chosen, wanted))
