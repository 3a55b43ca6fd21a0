"""A table of verbs as a group of commands: help and completion read the table, and a verb is loaded only to run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click

from provision.errors import UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_ALIKE: Final = 0.6
"""So alike is a word that was mistyped, by difflib's measure."""


class Verbs(click.Group):
    """A group that knows its commands by a table, and loads one only to run it.

    ``table`` maps each verb to its one-line help, in the order of the help page. ``package`` has a module for each,
    with its ``command``; ``modules`` names those that are called otherwise, or have several under their own names.
    ``usual`` is the verb that was meant where a spec takes its place. ``words`` maps words of other programs to what
    they are called here, ``answers`` words that are no verb of ours to a sentence and the line to type (``{}`` is what
    follows the word), and ``inner`` is a verb whose own verbs may have been meant.
    """

    def __init__(
        self,
        *arguments: Any,
        table: Mapping[str, str],
        package: str,
        usual: str,
        words: Mapping[str, str],
        answers: Mapping[str, tuple[str, str]],
        modules: Mapping[str, str] | None = None,
        inner: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*arguments, **more)
        self.table, self.package, self.usual, self.words, self.inner = table, package, usual, words, inner
        self.answers, self.modules = answers, modules or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a verb: one that its module has added to the group, or that of a module of its name."""
        if cmd_name in self.commands or cmd_name not in self.table:
            return super().get_command(ctx, cmd_name)
        module = import_module(f"{self.package}.{self.modules.get(cmd_name, cmd_name)}")
        names = (cmd_name, f"{cmd_name}_", "command")  # Python has an `import` and a `list` of its own
        return cast("click.Command", next(getattr(module, each) for each in names if hasattr(module, each)))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, without loading a single verb."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write where help on one command is, and below the program's own verbs where the documentation lies."""
        super().format_epilog(ctx, formatter)
        if ctx.parent is None:
            package = Path(__file__).parents[1]
            inside = package / "docs"
            place = inside if inside.is_dir() else package.parent / "docs"
            formatter.write(f"  Documentation: {(place / 'cli.md').as_uri()}\n")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was probably meant."""
        name = args[0]
        if name not in self.table and not ctx.resilient_parsing:
            raise self._no_such_command(ctx.command_path, name, args[1:])
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a verb from the table."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=text) for name, text in self.table.items() if name.startswith(incomplete)]
        return found + [item for item in click.Command.shell_complete(self, ctx, incomplete) if item not in found]

    def _no_such_command(self, path: str, name: str, rest: Sequence[str]) -> UsageError:
        from shlex import join

        if name.endswith((".yml", ".yaml")):
            again = f"{path} {join((self.usual, name, *rest))}"
            return UsageError(f"`{name}` is in the place of a command: {again}", next_step=f"{path} --help")
        if name in self.answers:
            sentence, line = self.answers.get(f"{name} {join(rest)}") or self.answers[name]
            return UsageError(f"there is no command `{name}`; {sentence}", next_step=_filled(line, join(rest)))
        found = self._meant(name)
        if not found:
            known = ", ".join(self.table)
            return UsageError(f"there is no command `{name}`; there are {known}", next_step=f"{path} --help")
        guess = " or ".join(f"`{each}`" for each in found)
        again = f"{path} {found[0]} {join(rest)}".rstrip()
        return UsageError(f"there is no command `{name}`; did you mean {guess}?", next_step=again)

    def _meant(self, name: str) -> Sequence[str]:
        """Return the commands that may be meant, the likeliest first."""
        if name in self.words:
            return self.words[name].split(" | ")
        from difflib import get_close_matches

        known = {each: each for each in self.table}
        if self.inner:  # the same verb of the program itself comes first
            table = import_module(f"{self.package}.{self.inner}").COMMANDS
            known = {**{each: f"{self.inner} {each}" for each in table}, **known}
        return [known[each] for each in get_close_matches(name, known, n=1, cutoff=_ALIKE)]


def _filled(line: str, rest: str) -> str:
    """Return a line to type with what was typed behind the word.

    >>> _filled("provision {} --help", ""), _filled("provision {} --help", "apply")
    ('provision --help', 'provision apply --help')
    """
    return line.replace("{}", rest) if rest else line.replace(" {}", "")
