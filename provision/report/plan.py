"""A plan, and what became of its steps, as lines of text.

The first words carry the message: what would happen, to what, and why. Everything that destroys data is said in
capitals, so that it is seen without colours too.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Final

from provision.kinds import file
from provision.model import INTERRUPTED, NOT_KNOWN, Action, Change, File, Outcome, Plan, Result, Secret, Step
from provision.model.effects import Migrate, MigrateTenants, WriteFile
from provision.model.words import count, shown
from provision.report.words import clean, is_foretold, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from provision.environment import Rendered
    from provision.report.console import Paint

SIGNS: Final = {Action.CREATE: "+", Action.GRANT: "+", Action.REMOVE: "-", Action.REVOKE: "-", Action.RECREATE: "±"}
STYLES: Final = {"+": "green", "-": "red"}
PAST: Final = {each: f"{each}d" if each.endswith("e") else f"{each}ed" for each in Action} | {Action.STOP: "stopped"}
ALARM: Final = "DESTROYS DATA"
WORD_WIDTH: Final = max(len(action) for action in Action)
MOST_REASONS: Final = 10
LAST_REASONS: Final = 2
_COLUMNS: Final = 80
_OF_SERVER: Final = {"container", "process", "server"}
_TRUSTED: Final = "it is planned without --no-commands"
_DIFF_STYLES: Final = {"+": "green", "-": "red", "@": "cyan"}


def lines(value: Plan, paint: Paint, *, verbose: bool = False) -> Iterator[str]:
    """Yield the steps of a plan: sign, action and address, then why, what people will notice, and the alarm.

    Files that are written one after the other share a line, and the last line is the sum of the steps.
    """
    certain = [step for step in value.steps if not is_foretold(step)]
    foretold = [step for step in value.steps if is_foretold(step)]
    for each in grouped(certain, every=verbose):
        yield from _steps(each, paint, verbose=verbose)
    if foretold:
        condition = _TRUSTED if value.unknown else _condition(certain)
        yield f"  known{' for certain' if certain else ''} once {condition}:"
        for each in grouped(foretold, every=verbose):
            yield from _steps(each, paint, verbose=verbose)
    yield from left(value, paint)
    if value.steps:
        yield f"  {paint('bold', total(value))}"


def _steps(steps: Sequence[Step], paint: Paint, *, verbose: bool) -> Iterator[str]:
    step = steps[0]
    sign = "?" if is_foretold(step) else SIGNS.get(step.action, "~")
    style = "dim" if is_foretold(step) else STYLES.get(sign, "yellow")
    alarm = f"  {paint('alarm', ALARM)}" if step.destroys else ""
    margin, about, why = " " * (WORD_WIDTH + 6), subject(steps), list(reasons(reasons_of(steps), every=verbose))
    if step.title and why and len(line := f"{about}  ({'; '.join(why)})") <= _COLUMNS - len(margin):
        about, why = line, []
    yield f"  {paint(style, f'{sign} {step.action:<{WORD_WIDTH}}')}  {paint('bold', about)}{alarm}"
    yield from (f"{margin}{reason}" for reason in why)
    if step.consequence:
        yield margin + paint("alarm" if step.destroys else "yellow", step.consequence)
    if verbose:
        yield from (margin + paint("dim", f"· {line}") for each in step.effects for line in each.lines)


def _condition(certain: Sequence[Step]) -> str:
    """Say what has to be so before the rest is known: a server that runs already may only refuse the login."""
    kinds = {step.address.kind for step in certain}
    if kinds & _OF_SERVER or not kinds - {file.KIND}:
        return "the server runs"
    if kinds & {"login", "database"}:
        return "the login works" if "login" in kinds else "the database is there"
    return "this is done"


def left(value: Plan | Result, paint: Paint) -> Iterator[str]:
    """Yield what differs from the spec and stays, for others or another run to change; then what is worth knowing."""
    if isinstance(value, Plan):
        yield from (f"  {paint('red', '!')} {each}" for each in value.overrides)
        yield from (f"  {paint('dim', NOT_KNOWN)} {each}" for each in (*value.unknown, *value.partial))
    yield from (f"  {paint('yellow', '!')} {each}" for each in value.notes)
    yield from (f"  {paint('dim', '·')} {each}" for each in value.remarks)


def total(value: Plan) -> str:
    """Return what a plan comes to: ``8 to create, 1 to start, 6 revisions``.

    What only a running server can tell may turn out to be nothing, and is not counted.
    """
    certain = [step for step in value.steps if not is_foretold(step)]
    counted = [*_tally(certain, {each: f"to {each}" for each in Action}), *moved(certain, "", " to undo")]
    counted += moved_tenants(certain, "to migrate")
    condition = _TRUSTED if value.unknown else _condition(certain)
    later = [f"more may follow once {condition}"] if len(certain) < len(value.steps) else []
    return "; ".join(([", ".join(counted)] if counted else []) + later)


def _tally(steps: Sequence[Step], words: Mapping[Action, str]) -> Iterator[str]:
    """Count the steps of each action, in the order of the plan; migrations whose revisions are known count those."""
    moves = [
        step for step in steps if _migrations(step) or any(isinstance(each, MigrateTenants) for each in step.effects)
    ]
    things = {step.title or number: step.action for number, step in enumerate(steps) if step not in moves}
    found = Counter(things.values())
    yield from (f"{number} {words[action]}" for action, number in found.items())


def moved_tenants(steps: Sequence[Step], word: str) -> Iterator[str]:
    """Count the tenants that steps migrate."""
    effects = [each for step in steps for each in step.effects if isinstance(each, MigrateTenants)]
    if effects:
        yield f"{count(len({(each.name, name) for each in effects for name, _ in each.behind}), 'tenant')} {word}"


def moved(steps: Sequence[Step], run: str, undone: str) -> Iterator[str]:
    """Count the revisions that steps run, and those that they undo."""
    for direction, word in (("downgrade", undone), ("upgrade", run)):
        moved = sum(len(each.revisions) for step in steps for each in _migrations(step) if each.direction == direction)
        if moved:
            yield count(moved, "revision") + word


def _migrations(step: Step) -> list[Migrate]:
    """Return the migrations of a step of which it is known what they run."""
    return [each for each in step.effects if isinstance(each, Migrate) and each.revisions]


def is_file(step: Step) -> bool:
    """Tell whether a step writes a file in the environment's directory."""
    return step.address.kind == file.KIND and isinstance(step.after, File)


def grouped(steps: Sequence[Step], *, every: bool) -> Iterator[tuple[Step, ...]]:
    """Yield the steps that share a line: neighbouring files, and what has the same title; not with ``every``."""
    found: dict[object, list[Step]] = {}
    first = 0
    for number, step in enumerate(steps):
        is_next = is_file(step) and is_file(steps[number - 1]) and step.action is steps[number - 1].action
        first = first if is_next else number
        key = (step.action, step.title, is_foretold(step)) if step.title else first
        found.setdefault(number if every else key, []).append(step)
    yield from map(tuple, found.values())


def subject(steps: Sequence[Step]) -> str:
    """Return what a line is about: a title, an address, or ``4 files in .provision/shop``."""
    after = steps[0].after
    if steps[0].title:
        return clean(steps[0].title)
    if len(steps) == 1 or not isinstance(after, File):
        return str(steps[0].address)
    home = after.path.parents[steps[0].address.name.count("/")]
    return f"{count(len(steps), 'file')} in {shown(home)}"


def reasons_of(steps: Sequence[Step]) -> tuple[Change | str, ...]:
    """Return the reasons for a line; those of several files begin with their names.

    Of steps with the same title, the last is about what exists, the first about what will: people think of it later.
    """
    if len(steps) == 1 or steps[0].title:
        return tuple([why for step in reversed(steps) for why in step.why])
    return tuple([f"{step.address.name}: {why}" for step in steps for why in step.why])


def reasons(why: Sequence[Change | str], *, every: bool) -> Iterator[str]:
    """Yield the reasons of a step; the middle of a long list is left out unless ``every`` one is wanted."""
    lines = [str(reason) for reason in why]
    yield from lines if every else _ends(lines, MOST_REASONS - LAST_REASONS - 1, MOST_REASONS)


def _ends(lines: Sequence[str], first: int, most: int, margin: str = "") -> Sequence[str]:
    """Return lines, without the middle where there are more than ``most``."""
    if len(lines) <= most:
        return lines
    more = f"{margin}… {len(lines) - first - LAST_REASONS} more (-v shows them)"
    return (*lines[:first], more, *lines[-LAST_REASONS:])


def fates(outcome: Outcome, *, every: bool) -> Iterator[str]:
    """Yield what became of each revision of a migration that failed; the middle of a long stretch is left out."""
    step = outcome.step
    names = [name for effect in step.effects if isinstance(effect, Migrate) for name, _ in effect.revisions]
    known = [(outcome.revisions.get(name), why) for name, why in zip(names, step.why, strict=False)]
    width = max(map(len, outcome.revisions.values()))
    for fate, found in groupby(known, lambda each: each[0]):
        if fate is None:
            continue
        begin = f"{fate:<{width}}  "
        lines = [f"{begin}{why}" for _, why in found]
        yield from lines if every else _ends(lines, LAST_REASONS, 2 * LAST_REASONS + 1, begin)


def below(outcomes: Sequence[Outcome], *, verbose: bool) -> Iterator[str]:
    """Yield the lines below the one of steps that ended: why they were done, or how far a migration got."""
    if outcomes[0].revisions:
        yield from fates(outcomes[0], every=verbose)
    elif outcomes[0].step.action not in (Action.CREATE, *([Action.MIGRATE] if verbose else [])):
        # A new thing has no reasons, and a verbose migration has shown them.
        yield from reasons(reasons_of([each.step for each in outcomes]), every=verbose)


def finished(outcomes: Sequence[Outcome], paint: Paint) -> str:
    """Return the line of steps that ended."""
    outcome, about = outcomes[0], subject([each.step for each in outcomes])
    step = outcome.step
    took = paint("dim", seconds(sum(each.seconds for each in outcomes)))
    if outcome.error is not None:
        how = outcome.error if outcome.error == INTERRUPTED else "failed"
        return f"  {paint('red', '✗')} {step.action:<{WORD_WIDTH}}  {about}  {paint('red', how)}  {took}"
    return f"  {paint('green', '✓')} {step.action:<{WORD_WIDTH}}  {about}  {took}"


def recap(name: str, result: Result, paint: Paint) -> Iterator[str]:
    """Yield what an apply did, in all: what changed, how long it took, and where the server is now."""
    failed = [outcome for outcome in result.outcomes if outcome.error is not None]
    if failed:
        what = f"{failed[0].step.action} {failed[0].step.address} failed: {failed[0].error}"
        yield f"{paint('bold', name)}: {paint('red', what)}  {seconds(result.seconds)}"
        return
    begun = f", from {result.begun.text}" if result.begun is not None else ""
    yield f"{paint('bold', name)}: {paint('green', _deeds(result.outcomes))}{begun}  {seconds(result.seconds)}"
    if result.endpoint is not None:
        yield f"  {result.endpoint.url(masked=True)}"
    yield from left(result, paint)


def unfinished(steps: Sequence[Step], outcomes: Sequence[Outcome], undone: Sequence[str] = ()) -> Iterator[str]:
    """Yield what a run that was broken off had done, and what it had not: the failed step and those after it.

    ``undone`` are the addresses of what was taken back.
    """
    ended = [outcome for outcome in outcomes if outcome.error is None]
    tried = [outcome.step for outcome in ended]
    left = dict.fromkeys([f"{step.action} {subject((step,))}" for step in steps if step not in tried])
    back = [f"{step.action} {step.address}" for step in tried if str(step.address) in undone]
    if done := [outcome for outcome in ended if str(outcome.step.address) not in undone]:
        yield f"done: {_deeds(done)}"
    if back:
        yield f"undone: {', '.join(back)}"
    if left:
        yield f"not done: {', '.join(left)}"


def _deeds(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return "nothing to do"
    steps = [outcome.step for outcome in outcomes]
    return ", ".join((*_tally(steps, PAST), *moved(steps, " applied", " undone"), *moved_tenants(steps, "migrated")))


def content_of(path: Path) -> str | None:
    """Return the content of a rendered file as it is now; None when there is none to read, or a link in its place."""
    try:
        return None if path.is_symlink() else path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def written(plan: Plan) -> tuple[WriteFile, ...]:
    """Return the files that a plan writes, each once, as they will be in the end."""
    files = {effect.path: effect for step in plan.steps for effect in step.effects if isinstance(effect, WriteFile)}
    return tuple(files.values())


def file_lines(file: File | WriteFile, read: Callable[[Path], str | None] = content_of) -> list[str]:
    """Return the unified difference between a file as it is and as it will be; empty when they are the same."""
    name = shown(file.path)
    if isinstance(file.content, Secret):
        return [f"--- {name}", f"+++ {name}", "@@ a secret file: not shown @@"]
    from difflib import unified_diff

    old = read(file.path)
    lines = unified_diff(
        (old or "").splitlines(), file.content.splitlines(), "/dev/null" if old is None else name, name, lineterm=""
    )
    return [clean(line) for line in lines]


def diff(value: Plan, paint: Paint, read: Callable[[Path], str | None] = content_of) -> Iterator[str]:
    """Yield how the rendered files change, coloured as people know it."""
    for each in written(value):
        for line in file_lines(each, read):
            style = "bold" if line.startswith(("---", "+++")) else _DIFF_STYLES.get(line[:1], "")
            yield paint(style, line) if style else line


def contents(files: Sequence[File]) -> Iterator[str]:
    """Yield the rendered files one after the other; a secret one is only named."""
    for number, each in enumerate(files):
        if number:
            yield ""
        if isinstance(each.content, Secret):
            yield f"# {shown(each.path)} (a secret, mode {each.mode:04o}: not printed)"
        else:
            yield f"# {shown(each.path)}"
            yield each.content.removesuffix("\n")


def rendered(done: Rendered, paint: Paint) -> Iterator[str]:
    """Yield which files were written."""
    for each in done.files:
        yield f"{shown(each.path)}: {paint('green', 'written') if each.path in done.written else 'unchanged'}"
    yield from (f"? {each}" for each in done.unknown)
