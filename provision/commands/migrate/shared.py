"""What the verbs of ``provision migrate`` share: how their words are told apart, and how a tree is chosen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from provision.commands.options import F, about_spec, load_spec
from provision.report.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provision.alembic.running.ask import Written
    from provision.alembic.tree.listing import Entry
    from provision.alembic.trees import Tree
    from provision.alembic.verbs.moving import Decided
    from provision.report.console import Console, Paint

_RELATIVE: Final = re.compile(r"-\d+(:.*)?")
_MARK: Final = "\0"

_tree = click.option("--tree", metavar="NAME", help="Which of several trees is meant: its name in the spec.")


def _telling(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not re.search(r"\w", value):
        raise click.UsageError(
            f"-m {value!r} says nothing: it becomes the file's name, which needs a letter or a digit"
        )
    return value


message_option = click.option(
    "-m", "--message", required=True, metavar="TEXT", callback=_telling, help="What it does, in a few words."
)
_words = click.argument("words", nargs=-1, metavar="[SPEC] [ARGUMENTS]...")


def on_a_tree(function: F) -> F:
    """Add what every verb takes: its words, and which tree they are about."""
    return about_spec(_words(_tree(function)))


class MigrateCommand(click.Command):
    """A command whose arguments may be so many steps down: ``-1`` is a target and no option.

    ``arguments`` says on the usage line what it takes beside the spec.
    """

    def __init__(self, *words: Any, arguments: str = "", **more: Any) -> None:
        super().__init__(*words, **more)
        self._arguments = arguments

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let ``-1`` be an argument; the word after an option that takes a value belongs to it."""
        valued = {
            name
            for each in self.params
            if isinstance(each, click.Option) and not each.is_flag
            for name in (*each.opts, *each.secondary_opts)
        }
        before = ["", *args]
        marked = [
            _MARK + word if _RELATIVE.fullmatch(word) and last not in valued else word
            for last, word in zip(before, args, strict=False)
        ]
        return super().parse_args(ctx, marked)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the pieces of the usage line."""
        del ctx
        return ["[OPTIONS]", "[SPEC]", *([self._arguments] if self._arguments else [])]


def split(words: tuple[str, ...]) -> tuple[Path | None, tuple[str, ...]]:
    """Tell the spec from what is Alembic's: it ends in ``.yml`` or ``.yaml``, or has a slash in it.

    Raises:
        click.UsageError: there are two specs.
    """
    plain = [word.removeprefix(_MARK) for word in words]
    specs = [word for word in plain if word.endswith((".yml", ".yaml")) or "/" in word]
    if len(specs) > 1:
        raise click.UsageError(f"one spec at a time: {specs[0]} and {specs[1]} were named")
    return (Path(specs[0]) if specs else None), tuple([word for word in plain if word not in specs])


def open_tree(console: Console, given: Path | None, name: str | None) -> Tree:
    """Read the spec and the one tree that is meant.

    Raises:
        provision.errors.UsageError: there is no such file or tree, or it is not clear which tree is meant.
    """
    from provision.alembic.trees import choose

    spec = load_spec(console, given)
    found = choose(spec, name)
    console.tree = found.name if len(spec.migrations) > 1 else ""
    return found


def one(words: tuple[str, ...], *, default: str | None, what: str) -> str:
    """Return the one argument that a verb takes, or its default.

    Raises:
        click.UsageError: there are several, or none where one is needed.
    """
    if len(words) > 1:
        raise click.UsageError(f"one {what} at a time: {' and '.join(words)} were given")
    if words:
        return words[0]
    if default is None:
        raise click.UsageError(f"which {what}?")
    return default


def none(words: tuple[str, ...]) -> None:
    """See that no argument is left.

    Raises:
        click.UsageError: there is one.
    """
    if words:
        raise click.UsageError(f"unexpected argument {words[0]!r}; the spec ends in .yml or .yaml")


def show_revisions(console: Console, tree: Tree, entries: Sequence[Entry], line: Callable[[Entry, Paint], str]) -> None:
    """Show a list of revisions, a line each, or as a document."""
    if console.json:
        from provision.report.migration_documents import revisions

        console.document(revisions(tree.spec, tree.name, entries))
        return
    paint = console.paint(console.out)
    for each in entries:
        console.put(line(each, paint), prose=True)


def carry_out(console: Console, decided: Decided, verb: str) -> int:
    """Make a move that was decided, tell what became of it, and where the next apply goes."""
    from provision.alembic.verbs.moving import move, next_apply
    from provision.report.progress import followed

    if decided.plan.is_empty:
        done = move(decided, progress=Silent(console))
    else:
        with followed(console) as progress:
            done = move(decided, progress=progress)
    if console.json:
        from provision.report.migration_documents import moved

        console.document(moved(decided.tree.spec, decided.tree.name, decided.tree.graph, verb, done))
        return 0
    from provision.errors import with_spec
    from provision.report import migrations

    paint = console.paint(console.out)
    console.say(migrations.moved(decided.tree.spec.name, done, paint))
    if remark := next_apply(decided.tree, done.after):
        console.say(f"  {with_spec(remark, console.spec or '', console.tree)}")
    return 0


def show_written(console: Console, tree: Tree, done: Written) -> None:
    """Show the file that was written and what it holds, or that there was nothing to write."""
    if console.json:
        from provision.report.migration_documents import written

        console.document(written(tree.spec, tree.name, done))
        return
    from provision.report import migrations

    named = f"--tree {console.tree} " if console.tree else ""
    for line in migrations.written(tree.spec.name, done, console.line(f"migrate upgrade {named}".rstrip())):
        console.say(line)
