"""What ``snapshot`` and ``backup`` share: verbs that take a spec in any position, and most of them a word beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import click

from provision.commands.options import about_spec, help_without_verb, load_environment, subcommand, switches
from provision.commands.specfile import split
from provision.commands.table import Verbs
from provision.errors import EXIT_DONE
from provision.model import Plan, Result
from provision.report.console import Console

DATABASE: Final = click.option("--database", metavar="NAME", help="Only this one of the declared databases.")
YES: Final = click.option("--yes", is_flag=True, help="Do not ask. Needed where there is no terminal to ask on.")


class DataVerbs(Verbs):
    """A group of such verbs. ``word`` is what one takes beside the spec, such as NAME; ``sample`` is one."""

    def __init__(self, *arguments: Any, word: str, sample: str, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.word, self.sample = word, sample

    def verb(self, example: str, *options: Any) -> Callable[[Callable[..., int]], None]:
        """Make a verb of a function of the console, the environment, the word beside the spec, and the options.

        The word is empty where the example has none.
        """

        def make(function: Callable[..., int]) -> None:
            name, takes_one = function.__name__.strip("_"), self.word in example

            def run(console: Console, /, words: tuple[str, ...], **given: Any) -> int:
                spec, rest = split(words, with_paths=False)
                word = self._word(rest, wanted=takes_one)
                return function(console, load_environment(console, spec), word, **given)

            run.__doc__ = function.__doc__
            words = click.argument("words", nargs=-1, metavar=f"[SPEC] {self.word}" if takes_one else "[SPEC]")
            typed = f"provision {self.name} {name} {example.replace(self.word, self.sample)}".rstrip()
            subcommand(name, typed, *options, argument=lambda made: about_spec(words(made)), group=self)(run)

        return make

    def _word(self, words: tuple[str, ...], *, wanted: bool) -> str:
        if words and not wanted:
            raise click.UsageError(f"unexpected argument {words[0]!r}; the spec ends in .yml or .yaml")
        if len(words) != wanted:
            or_path = ", or its path" if self.word == "FILE" else ""
            some = f"which {self.name}? Write its name{or_path}"
            raise click.UsageError(some if not words else f"one {self.name} at a time: {' '.join(words)}")
        return words[0] if wanted else ""


def group(name: str, about: str, *, word: str, **more: Any) -> DataVerbs:
    """Make a group without verbs."""

    def run(ctx: click.Context) -> None:
        help_without_verb(ctx)

    run.__doc__ = f"""{about}

    An argument that ends in .yml or .yaml is the spec, in any position; without one it is provision.yml of the current
    directory.
    """
    made = click.group(
        name,
        cls=DataVerbs,
        word=word,
        usual="list",
        answers={"help": ("help is an option", f"provision {name} {{}} --help")},
        invoke_without_command=True,
        subcommand_metavar=f"VERB [OPTIONS] [SPEC] [{word}]",
        options_metavar="",
        **more,
    )
    return made(switches(click.pass_context(run)))


def confirm(console: Console, name: str, plan: Plan, again: str) -> None:
    """Ask for the environment's name before its data is replaced.

    What is replaced now can be put back. What was kept so far cannot, and is named.
    """
    from provision.commands import options

    gone = [str(step.address) for step in plan.steps if step.destroys]
    warning = f"{', '.join(gone)} cannot be brought back afterwards." if gone else ""
    what = f"the data of {name} would be replaced"
    options.confirm(console, name, plan, what=what, again=again, warning=warning)


def show(
    console: Console,
    name: str,
    done: Result,
    document: Mapping[str, Any],
    steps: Mapping[str, str],
    lines: Iterable[str] = (),
) -> int:
    """Show what was done, as its JSON ``document`` or as text with ``lines``, and what to type next."""
    from provision.report.plan import recap
    from provision.report.survey import suggestions

    paint = console.paint(console.out)
    said = (*recap(name, done, paint), *lines, *suggestions(steps, paint))
    console.show(lambda: document, said, talk=True)
    return EXIT_DONE
