"""One command about several specs: side by side where they share nothing, and shown one after the other."""

from __future__ import annotations

import time
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from provision import errors
from provision.commands.options import about_spec, environment_of, teller
from provision.commands.specfile import find_spec, shell_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provision.report.console import Console
    from provision.several import Ended, Read

F = TypeVar("F", bound="Callable[..., Any]")

_BAD_TO_WORSE: Final = (
    *(errors.EXIT_DONE, errors.EXIT_CHANGES_PENDING, errors.EXIT_LOCKED, errors.EXIT_UNAVAILABLE),
    *(errors.EXIT_FAILED, errors.EXIT_SPEC, errors.EXIT_USAGE, errors.EXIT_BUG, errors.EXIT_INTERRUPTED),
)
_SIGNALLED: Final = 128


def worst(codes: Sequence[int]) -> int:
    """Return the exit code of several runs: of what is to be done, of what failed, of what is not known, the worst.

    >>> worst([0, 2, 0]), worst([2, 1]), worst([69, 1, 75]), worst([])
    (2, 1, 1, 0)
    """
    known = {code: rank for rank, code in enumerate(_BAD_TO_WORSE)}
    return max(codes, key=lambda code: known.get(code, len(known)), default=errors.EXIT_DONE)


def specs_argument(*, acting: bool = False, lenient: bool = False) -> Callable[[F], F]:
    """Add the specs that a command is about; the function gets one of them, as ``spec``, or None where none is named.

    Several run in copies of this process. ``acting`` refuses those that can never run at once, and ``lenient`` reads
    them as far as what was made before needs it.
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def run(*, specs: tuple[Path, ...], **options: Any) -> int:
            if len(specs) < 2:  # noqa: PLR2004
                return int(function(spec=specs[0] if specs else None, **options) or errors.EXIT_DONE)
            return _each(function, specs, options, acting=acting and not options.get("check"), lenient=lenient)

        argument = click.argument("specs", nargs=-1, type=click.Path(path_type=Path), metavar="[SPEC]...")
        return about_spec(argument(run))  # type: ignore[return-value]

    return decorate


def _each(
    function: Callable[..., Any], given: Sequence[Path], options: Mapping[str, Any], *, acting: bool, lenient: bool
) -> int:
    from provision import several

    if options.get("as_planned"):
        raise click.UsageError("--as-planned does the plan of one spec, and several were named")
    console: Console = click.get_current_context().obj
    paths = [find_spec(path, Path()) for path in given]
    found = several.read(paths, lambda path: environment_of(console, path), lenient=lenient)
    groups = several.groups(found, acting=acting, runtime=options.get("runtime"))
    for path in found.bases:
        console.say(f"{shell_word(path)}: left out, because others extend it")
    ended: dict[int, Ended] = {}
    blocks, part = _Blocks(console, found, ended), console.part()
    try:
        several.run(
            lambda number: _alone(part, found.paths[number], function, options),
            groups,
            ended=blocks.add,
            tick=blocks.waiting,
        )
    except KeyboardInterrupt:
        blocks.close()
        raise
    return blocks.close()


def _alone(console: Console, path: Path, function: Callable[..., Any], options: Mapping[str, Any]) -> int:
    """Be the command for one spec, in a copy of this process; this is its boundary, where an error becomes text."""
    ctx = click.get_current_context()
    ctx.obj, console.began = console, time.monotonic()
    console.command = f"{ctx.command_path} {shell_word(path)}"
    try:
        code = function(spec=path, **options)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the boundary
        from provision.report.errors import report

        code = report(error, console, teller(console))
    console.close()
    return int(code or errors.EXIT_DONE)


class _Blocks:
    """What the runs have printed, a block for each, in the order of the command line."""

    def __init__(self, console: Console, found: Read, ended: dict[int, Ended]) -> None:
        from provision.report.progress import Waiting

        self._console, self._found, self._ended, self._shown = console, found, ended, 0
        self._line = Waiting(console, [spec.name for spec in found.specs])

    def add(self, ended: Ended) -> None:
        """Show the blocks that are whole, up to the first that is not."""
        self._ended[ended.number] = ended
        while (block := self._ended.get(self._shown)) is not None:
            self._line.clear()
            if not self._console.json:
                self._show(block)
            self._shown += 1

    def waiting(self, running: Sequence[int]) -> None:
        """Show what runs."""
        self._line.show(running, len(self._ended))

    def close(self) -> int:
        """Show what is left to be shown, and return the exit code."""
        self._line.clear()
        ended = [self._ended[number] for number in sorted(self._ended)]
        if self._console.json:
            self._documents(ended)
        elif failed := [each for each in ended if each.code not in (errors.EXIT_DONE, errors.EXIT_CHANGES_PENDING)]:
            names = ", ".join(shell_word(self._found.paths[each.number]) for each in failed)
            self._console.complain(f"{len(failed)} of {len(ended)} failed: {names}")
        return worst([each.code for each in ended])

    def _show(self, block: Ended) -> None:
        console = self._console
        if self._shown and not console.quiet and (block.out.count("\n") > 1 or block.err):
            console.put("")
        console.put(*block.out.splitlines())
        path = shell_word(self._found.paths[block.number])
        if block.err or block.code >= _SIGNALLED:
            if self._shown:
                console.complain("")
            console.complain(console.paint(console.err)("bold", f"{path}:"))
        console.complain(*block.err.splitlines())
        if block.code >= _SIGNALLED and not block.err:
            console.complain(f"error: it was ended by signal {block.code - _SIGNALLED}")

    def _documents(self, ended: Sequence[Ended]) -> None:
        import json

        from provision.report.documents import failure

        documents = []
        for each in ended:
            try:
                documents.append(json.loads(each.out))
            except ValueError:
                path = self._found.paths[each.number]
                documents.append(
                    failure(errors.ProvisionError(f"{path}: it ended with exit code {each.code}"), each.code)
                )
            self._console.complain(*each.err.splitlines())
        self._console.put(json.dumps(documents, indent=2, ensure_ascii=False))
