"""A table of verbs as a group of commands: help and completion read the table, and a verb is loaded only to run it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Verbs(click.Group):
    """A group that knows its commands by a table, and loads one only to run it.

    ``table`` maps each verb to its one-line help, in the order of the help page; ``package`` has a module for each,
    and ``usual`` is the verb that somebody meant who wrote a spec in place of one.
    """

    def __init__(self, *words: Any, table: Mapping[str, str], package: str, usual: str, **more: Any) -> None:
        super().__init__(*words, **more)
        self.table, self.package, self.usual = table, package, usual

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a verb and return its command."""
        del ctx
        if cmd_name not in self.table:
            return None
        return cast("click.Command", import_module(f"{self.package}.{cmd_name}").command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, without loading a single verb."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was probably meant."""
        name = args[0]
        if name not in self.table and not ctx.resilient_parsing:
            raise click.UsageError(self._no_such_command(ctx.command_path, name, args[1:]), ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a verb from the table."""
        found = [CompletionItem(name, help=text) for name, text in self.table.items() if name.startswith(incomplete)]
        return found + [item for item in click.Command.shell_complete(self, ctx, incomplete) if item not in found]

    def _no_such_command(self, path: str, name: str, rest: Sequence[str]) -> str:
        if name.endswith((".yml", ".yaml")):
            return f"`{name}` stands where a command belongs: {' '.join((path, self.usual, name, *rest))}"
        from difflib import get_close_matches

        near = get_close_matches(name, self.table, n=1, cutoff=0.5)
        if near:
            return f"there is no command `{name}`; did you mean `{near[0]}`?"
        return f"there is no command `{name}`; there are {', '.join(self.table)}"
