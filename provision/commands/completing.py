"""What a shell asks for while a command line is typed, and the scripts by which it asks.

Click knows verbs and options; the words that only a project knows (specs, revisions, names) are those of
:mod:`provision.shell`. The shell calls the program for each TAB, with the line so far in its environment.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click import shell_completion
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.shell import Word

SHELLS: Final = ("bash", "zsh", "fish")
_OPTIONS: Final = {"role": "role", "database": "database", "tree": "tree"}
"""Options by their names, and what a spec has of which they name one."""
_SPECS: Final = ("spec", "specs", "words")
_TARGETS: Final = ("upgrade", "downgrade", "stamp", "sql", "history", "merge", "report")
"""Verbs of ``migrate`` whose words are revisions."""
_SUFFIXES: Final = (".yml", ".yaml")


def source(group: click.Group, program: str, shell: str) -> str:
    """Return the script of a shell that has it ask this program."""
    return _made(group, program, shell).source()


def complete(group: click.Group, program: str) -> int:
    """Answer the question of a shell, which is in the environment; what cannot be read completes nothing."""
    shell, _, instruction = os.environ[_variable(program)].partition("_")
    if shell not in SHELLS:
        return 1
    asked = _made(group, program, shell)
    answer = asked.source() if instruction == "source" else asked.complete()
    os.write(1, f"{answer}\n".encode())
    return 0


def _variable(program: str) -> str:
    return f"_{program.upper()}_COMPLETE"


def _made(group: click.Group, program: str, shell: str) -> shell_completion.ShellComplete:
    known = shell_completion.get_completion_class(shell)
    assert known is not None  # noqa: S101  # click has the three
    made = type(f"Of{shell}", (_Words, known), {})
    found: shell_completion.ShellComplete = made(group, {"obj": None}, program, _variable(program))
    return found


class _Words:
    """What completes the words of a project, before click's own."""

    cli: click.Command
    ctx_args: Any
    prog_name: str

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Return what the word that is being typed may become."""
        ctx = shell_completion._resolve_context(self.cli, self.ctx_args, self.prog_name, args)  # noqa: SLF001
        asked, begun = shell_completion._resolve_incomplete(ctx, args, incomplete)  # noqa: SLF001
        found: list[CompletionItem] = []
        if isinstance(asked, click.Parameter):
            with suppress(Exception):  # a spec that is half written, for example
                found = [CompletionItem(each.text, help=each.about) for each in _project(ctx, args, asked, begun)]
            if asked.name in _SPECS and not found:
                return [CompletionItem(begun, type="file")]
        return found or asked.shell_complete(ctx, begun)


def _project(ctx: click.Context, args: list[str], asked: click.Parameter, begun: str) -> Iterator[Word]:
    """Yield the words that the project of a command line has for a parameter."""
    from provision import shell

    if isinstance(asked, click.Option):
        kind = _OPTIONS.get(asked.name or "")
        words = shell.names(_spec(args), os.environ, kind) if kind else ()
        if (ctx.info_name, asked.name) == ("destroy", "name"):
            words = shell.environments(os.environ)
        yield from (each for each in words if each.text.startswith(begun))
    elif asked.name in _SPECS:
        with suppress(Exception):
            yield from _revisions(ctx, args, begun)
        if not _given(args) or asked.name == "specs":
            yield from shell.specs(begun)


def _revisions(ctx: click.Context, args: list[str], begun: str) -> Iterator[Word]:
    from provision import shell

    above = ctx.parent.info_name if ctx.parent else ""
    if above != "migrate" or ctx.info_name not in _TARGETS or "/" in begun:
        return
    tree = next((after for word, after in pairwise(args) if word == "--tree"), None)
    found = shell.revisions(_spec(args), os.environ, tree)
    yield from (each for each in found if each.text.startswith(begun))


def _given(args: list[str]) -> Path | None:
    """Return the spec that is on the command line already; a line that is not finished has no parameters yet."""
    return next((Path(each) for each in args if each.endswith(_SUFFIXES)), None)


def _spec(args: list[str]) -> Path:
    from provision.commands.specfile import find_spec

    return find_spec(_given(args), Path())
