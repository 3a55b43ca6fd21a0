"""A plan, a result and a state as lines of text.

The first words carry the message: what would happen, to what, and why. Everything that destroys data is said in
capitals, so that it is seen without colours too.
"""

from __future__ import annotations

import os
from itertools import groupby
from typing import TYPE_CHECKING, Final

from provision.kinds import migrations
from provision.kinds.migrations import Revisions
from provision.model import INTERRUPTED, NOT_KNOWN, Action, Plan
from provision.model.effects import Migrate
from provision.model.words import count
from provision.report.grouping import grouped, reasons_of, subject
from provision.report.words import is_foretold, place, seconds, url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from provision.model import Change, Endpoint, Observed, Outcome, Result, Status, Step
    from provision.report.console import Paint
    from provision.report.facts import Comparison, Survey

SIGNS: Final = {Action.CREATE: "+", Action.REMOVE: "-", Action.RECREATE: "±"}
STYLES: Final = {Action.CREATE: "green", Action.REMOVE: "red", Action.RECREATE: "yellow"}
PAST: Final = {
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.RELOAD: "reloaded",
    Action.START: "started",
    Action.MIGRATE: "migrated",
    Action.STOP: "stopped",
    Action.RESTART: "restarted",
    Action.RECREATE: "recreated",
    Action.REMOVE: "removed",
}
SERVER_STYLES: Final = {"running": "green", "unreachable": "red"}
ALARM: Final = "DESTROYS DATA"
WORD_WIDTH: Final = max(len(action) for action in Action)
MOST_REASONS: Final = 10
LAST_REASONS: Final = 2
_TRUSTED: Final = "it is planned without --no-commands"


def reasons(why: Sequence[Change | str], *, every: bool) -> Iterator[str]:
    """Yield the reasons of a step; the middle of a long list is left out unless ``every`` one is wanted."""
    if every or len(why) <= MOST_REASONS:
        yield from (str(reason) for reason in why)
        return
    first = MOST_REASONS - LAST_REASONS - 1
    yield from (str(reason) for reason in why[:first])
    yield f"… {len(why) - first - LAST_REASONS} more (-v shows them)"
    yield from (str(reason) for reason in why[-LAST_REASONS:])


def fates(outcome: Outcome, *, every: bool) -> Iterator[str]:
    """Yield what became of each revision of a migration that failed; the middle of a long stretch is left out."""
    step = outcome.step
    names = [name for effect in step.effects if isinstance(effect, Migrate) for name, _ in effect.revisions]
    told = [
        (outcome.revisions[name], str(why))
        for name, why in zip(names, step.why, strict=False)
        if name in outcome.revisions
    ]
    width = max((len(fate) for fate, _ in told), default=0)
    for fate, found in groupby(told, lambda each: each[0]):
        lines = [f"{fate:<{width}}  {why}" for _, why in found]
        more = len(lines) - 2 * LAST_REASONS
        if not every and more > 1:
            lines[LAST_REASONS:-LAST_REASONS] = [f"{fate:<{width}}  … {more} more (-v shows them)"]
        yield from lines


def below(outcomes: Sequence[Outcome], *, verbose: bool) -> Iterator[str]:
    """Yield what stands below the line of steps that ended: why they were done, or how far a migration got."""
    if outcomes[0].revisions:
        yield from fates(outcomes[0], every=verbose)
    elif tells_reasons(outcomes[0].step, verbose=verbose):
        yield from reasons(reasons_of([each.step for each in outcomes]), every=verbose)


def tells_reasons(step: Step, *, verbose: bool) -> bool:
    """Tell whether a step that ended needs its reasons: a new thing has none, and verbose migrations told them."""
    return step.action is not Action.CREATE and not (verbose and step.action is Action.MIGRATE)


def plan(value: Plan, paint: Paint, *, verbose: bool = False) -> Iterator[str]:
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
        for step in foretold:
            yield from _steps((step,), paint, verbose=verbose)
    yield from left(value, paint)
    if value.steps:
        yield f"  {paint('bold', total(value))}"


def _condition(certain: Sequence[Step]) -> str:
    """Say what has to be so before the rest is known: a server that runs already may only refuse the login."""
    kinds = {step.address.kind for step in certain}
    return "the login works" if "login" in kinds and not kinds & {"container", "process"} else "the server runs"


def left(value: Plan | Result, paint: Paint) -> Iterator[str]:
    """Yield what differs from the spec and stays, for others or another run to change; then what is worth knowing."""
    for override in value.overrides if isinstance(value, Plan) else ():
        yield f"  {paint('red', '!')} {override}"
    for unknown in value.unknown if isinstance(value, Plan) else ():
        yield f"  {paint('dim', NOT_KNOWN)} {unknown}"
    for partial in value.partial if isinstance(value, Plan) else ():
        yield f"  {paint('dim', NOT_KNOWN)} {partial}"
    for note in value.notes:
        yield f"  {paint('yellow', '!')} {note}"
    for remark in value.remarks:
        yield f"  {paint('dim', '·')} {remark}"


def variables(found: Sequence[tuple[str, Path]], paint: Paint) -> Iterator[str]:
    """Yield which variables came from which file; values are never shown."""
    for path in dict.fromkeys(path for _, path in found):
        names = ", ".join(name for name, other in found if other == path)
        yield f"  {paint('dim', '·')} from {os.path.relpath(path)}: {names}"


def total(value: Plan) -> str:
    """Return what a plan comes to: ``8 to create, 1 to start, 6 revisions``.

    What only a running server can tell may turn out to be nothing, and is not counted.
    """
    certain = [step for step in value.steps if not is_foretold(step)]
    counted = [*_tally(certain, {each: f"to {each}" for each in Action}), *_revisions(certain, "", " to undo")]
    condition = _TRUSTED if value.unknown else _condition(certain)
    later = [f"more may follow once {condition}"] if len(certain) < len(value.steps) else []
    return "; ".join(([", ".join(counted)] if counted else []) + later)


def _tally(steps: Sequence[Step], words: Mapping[Action, str]) -> Iterator[str]:
    """Count the steps of each action, in the order of the plan; migrations whose revisions are known count those."""
    found: dict[Action, int] = {}
    for step in steps:
        if not _migrations(step):
            found[step.action] = found.get(step.action, 0) + 1
    yield from (f"{number} {words[action]}" for action, number in found.items())


def _revisions(steps: Sequence[Step], run: str, undone: str) -> Iterator[str]:
    """Count the revisions that steps run, and those that they undo."""
    for direction, word in (("downgrade", undone), ("upgrade", run)):
        moved = sum(len(each.revisions) for step in steps for each in _migrations(step) if each.direction == direction)
        if moved:
            yield count(moved, "revision") + word


def _migrations(step: Step) -> list[Migrate]:
    """Return the migrations of a step of which it is known what they run."""
    return [each for each in step.effects if isinstance(each, Migrate) and each.revisions]


def _steps(steps: Sequence[Step], paint: Paint, *, verbose: bool) -> Iterator[str]:
    step = steps[0]
    sign = "?" if is_foretold(step) else SIGNS.get(step.action, "~")
    style = "dim" if is_foretold(step) else STYLES.get(step.action, "yellow")
    alarm = f"  {paint('alarm', ALARM)}" if step.destroys else ""
    yield f"  {paint(style, f'{sign} {step.action:<{WORD_WIDTH}}')}  {paint('bold', subject(steps))}{alarm}"
    margin = " " * (WORD_WIDTH + 6)
    for reason in reasons(reasons_of(steps), every=verbose):
        yield f"{margin}{reason}"
    if step.consequence:
        yield margin + paint("alarm" if step.destroys else "yellow", step.consequence)
    if verbose:
        for line in [line for each in step.effects for line in each.lines]:
            yield margin + paint("dim", f"· {line}")


def heading(survey: Survey, paint: Paint, *, counted: bool = False) -> str:
    """Return the line above a plan: the environment, its runtime, why it lives there; ``counted``: and the sum."""
    reason = f" {paint('dim', f'({survey.reason})')}" if survey.reason else ""
    steps = f": {total(survey.plan)}" if counted else ""
    return f"{paint('bold', survey.spec.name)} on {survey.runtime}{reason}{steps}"


def nothing_to_do(survey: Survey, elapsed: float, paint: Paint) -> str:
    """Return the one line that says that there is nothing to do, with what proves it."""
    facts = ", ".join(_proof(survey.status, survey.endpoint))
    what = f" ({facts})" if facts else ""
    word = "nothing known to do" if survey.plan.partial else "nothing to do"
    return f"{paint('bold', survey.spec.name)}: {paint('green', word)}{what}  {seconds(elapsed)}"


def _proof(status: Status, endpoint: Endpoint | None) -> Iterator[str]:
    if status.version and endpoint:
        yield f"{status.version} on {place(endpoint)}"
    elif endpoint:
        yield place(endpoint)
    several = len(status.revisions) > 1
    for tree, rows in status.revisions.items():
        yield f"{f'{tree} at ' if several else ''}{_at(rows)}"


def _at(rows: Sequence[str]) -> str:
    if not rows:
        return "no revision"
    return f"revision{'s' if len(rows) > 1 else ''} {' + '.join(rows)}"


def _behind(survey: Survey, name: str) -> Iterator[str]:
    """Say how far a tree is from its target, where the plan knows: ``3 revisions behind head``."""
    target = next((each.target for each in survey.spec.migrations if each.name == name), "the target")
    for step in survey.plan.steps:
        if (step.address.kind, step.address.name) == (migrations.KIND, name):
            yield from _revisions((step,), f" behind {target}", f" ahead of {target}")


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
    yield f"{paint('bold', name)}: {paint('green', _deeds(result.outcomes))}  {seconds(result.seconds)}"
    if result.endpoint is not None:
        yield f"  {url(result.endpoint)}"
    yield from left(result, paint)


def unfinished(steps: Sequence[Step], outcomes: Sequence[Outcome], undone: Sequence[str] = ()) -> Iterator[str]:
    """Yield what a run that was broken off had done, and what it had not: the failed step and those after it.

    ``undone`` are the addresses of what was taken back.
    """
    ended = [outcome for outcome in outcomes if outcome.error is None]
    tried = [outcome.step for outcome in ended]
    left = [f"{step.action} {step.address}" for step in steps if step not in tried]
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
    return ", ".join((*_tally(steps, PAST), *_revisions(steps, " applied", " undone")))


def suggestions(commands: Mapping[str, str], paint: Paint) -> Iterator[str]:
    """Yield commands worth trying next, each with what it is for."""
    width = max(map(len, commands), default=0)
    for command, purpose in commands.items():
        yield f"  {paint('cyan', f'{command:<{width}}')}  {paint('dim', purpose)}"


def _moment(iso: str | None) -> str | None:
    """Return a moment to the second: the engine tells nanoseconds."""
    return iso and f"{iso[:19].replace('T', ' ')} UTC" if iso and iso.endswith("Z") else iso


def _ledgers(observed: Observed) -> dict[str, str]:
    """Return of how many applied revisions the ledger knows what was in their files."""
    found = {address.name: state.known for address, state in observed.items() if isinstance(state, Revisions)}
    return {
        f"ledger {tree}" if len(found) > 1 else "ledger": f"knows {known.recorded} of {known.applied} applied revisions"
        for tree, known in found.items()
        if known is not None
    }


def status(survey: Comparison, paint: Paint, *, verbose: bool = False) -> Iterator[str]:
    """Yield what runs, where, at which revision, and how it differs from the spec."""
    state = survey.status
    word = paint(SERVER_STYLES.get(state.server, "yellow"), state.server)
    pending = len(survey.plan.steps)
    drift = f"{count(pending, 'change')} pending" if pending else "as the spec says"
    if (survey.plan.unknown or survey.plan.partial) and not pending:
        drift = "nothing known to differ"
    drift = "not known how it differs" if survey.refusal else drift
    if stays := len(survey.plan.notes) + len(survey.plan.overrides):
        others = f"{count(stays, 'difference')} for others to change"
        drift = f"{drift}, {others}" if pending else others
    yield f"{paint('bold', survey.spec.name)}: {word}, {drift}"
    if state.detail:
        yield f"  {state.detail}"
    facts = {
        "runtime": f"{survey.runtime}, {survey.reason}" if survey.reason else survey.runtime,
        "version": f"PostgreSQL {state.version}" if state.version else "",
        "image": state.image,
        "container": state.container,
        "process": state.process,
        "started": _moment(state.started),
        "clients": f"{state.clients} connected" if state.clients else "",
        "data": state.data,
        "url": url(survey.endpoint) if survey.endpoint else "",
        **{
            f"migrations {tree}" if len(state.revisions) > 1 else "migrations": ", ".join(
                (_at(rows), *_behind(survey, tree))
            )
            for tree, rows in state.revisions.items()
        },
        **(_ledgers(survey.observed) if verbose else {}),
    }
    width = max(len(key) for key, fact in facts.items() if fact)
    for key, fact in facts.items():
        if fact:
            yield f"  {paint('dim', f'{key:<{width}}')}  {fact}"
    for each in grouped(survey.plan.steps, every=verbose):
        yield f"  {paint('yellow', 'pending'.ljust(width))}  {each[0].action} {subject(each)}"
    yield from left(survey.plan, paint)
