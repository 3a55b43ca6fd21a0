"""What was seen of an environment, as lines of text: its server, what differs, and what was done about it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from provision.alembic import Revisions
from provision.errors import with_spec
from provision.kinds import migrations
from provision.model import Action, Address, Endpoint, Observed, Plan, Result, Status
from provision.model.value import replace
from provision.model.words import count, socket_address, some_of
from provision.report.amounts import size
from provision.report.plan import grouped, left, moved, recap, subject
from provision.report.words import clean, is_foretold, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from provision.model.cluster import Cluster, Member
    from provision.observe import Survey
    from provision.report.console import Console, Paint
    from provision.spec.model import Spec
    from provision.verification import Verification

SERVER_STYLES: Final = {"running": "green", "unreachable": "red"}
_MOST_TENANTS: Final = 20


def heading(survey: Survey, paint: Paint) -> str:
    """Return the line above a plan: the environment, its runtime, and why it lives there."""
    reason = f" {paint('dim', f'({survey.reason})')}" if survey.reason else ""
    return f"{paint('bold', survey.spec.name)} on {survey.runtime}{reason}"


def identity(spec: Spec, paint: Paint) -> Iterator[str]:
    """Yield why the environment has another name, or is elsewhere, than the spec says."""
    if spec.named:
        yield f"  {paint('dim', '·')} {spec.named}"


def nothing_to_do(survey: Survey, elapsed: float, paint: Paint) -> str:
    """Return the one line that says that there is nothing to do, with what proves it."""
    facts = ", ".join(_proof(survey.status, survey.endpoint))
    what = f" ({facts})" if facts else ""
    word = "nothing known to do" if survey.plan.partial else "nothing to do"
    return f"{paint('bold', survey.spec.name)}: {paint('green', word)}{what}  {seconds(elapsed)}"


def applied(survey: Survey, done: Result, console: Console) -> Iterator[str]:
    """Yield what an apply did in all, what is left, and after a first one the commands worth knowing."""
    paint = console.paint(console.out)
    if survey.plan.is_empty and not done.outcomes:
        yield nothing_to_do(survey, done.seconds, paint)
        said = [each for each in done.remarks if each not in survey.plan.partial]
        yield from left(replace(survey.plan, remarks=tuple(said)), paint)
        return
    yield from recap(survey.spec.name, done, paint)
    if survey.spec.backs_up:
        from provision.report.backups import going_back

        yield from suggestions(going_back((each.step for each in done.outcomes), console), paint)
    if any(outcome.step.action is Action.CREATE for outcome in done.outcomes):
        is_behind = done.endpoint is not None and done.endpoint.lasting is None
        verb, what = ("tunnel", "an address here") if is_behind else ("url", "the URL with its password")
        commands = {
            console.line("psql"): "open a session",
            console.line(verb): f"{what}, for a program",
            console.line("apply"): "again: there is nothing left to do",
        }
        yield from suggestions(commands, paint)


def _proof(status: Status, endpoint: Endpoint | None) -> Iterator[str]:
    if status.version and endpoint:
        yield f"{status.version} on {endpoint.address}"
    elif endpoint:
        yield endpoint.address
    yield from _tenants_in_short(status)
    several = len(status.revisions) > 1
    for tree, rows in status.revisions.items():
        yield f"{f'{tree} at ' if several else ''}{_at(rows)}"


def _tenants_in_short(status: Status) -> Iterator[str]:
    for tree, groups in status.tenants.items():
        several = f"{tree}: " if len(status.tenants) > 1 else ""
        for rows, names in groups:
            yield f"{several}{count(len(names), 'tenant')} {_standing(rows)}"


def _standing(rows: Sequence[str] | None) -> str:
    from provision.kinds.tenant_states import position

    return position(rows) if rows is None else f"at {position(rows)}"


def _at(rows: Sequence[str]) -> str:
    if not rows:
        return "no revision"
    return f"revision{'s' if len(rows) > 1 else ''} {' + '.join(rows)}"


def _where(survey: Survey, name: str) -> str:
    """Name the database of a tree where that is neither the server's nor called like the tree."""
    spec = survey.spec
    database = next((spec.database_of(each) for each in spec.migrations if each.name == name), name)
    return "" if database in (name, spec.server.database) else f" in {database}"


def _behind(survey: Survey, name: str) -> Iterator[str]:
    """Say how far a tree is from its target, where the plan knows: ``3 revisions behind head``."""
    target = next((each.target for each in survey.spec.migrations if each.name == name), "the target")
    for step in survey.plan.steps:
        if (step.address.kind, step.address.name) == (migrations.KIND, name):
            yield from moved((step,), f" behind {target}", f" ahead of {target}")


def variables(found: Sequence[tuple[str, Path]], paint: Paint) -> Iterator[str]:
    """Yield which variables came from which file; values are never shown."""
    for path in dict.fromkeys(path for _, path in found):
        names = ", ".join(name for name, other in found if other == path)
        yield f"  {paint('dim', '·')} from {os.path.relpath(path)}: {names}"


def rejected(survey: Survey, paint: Paint) -> Iterator[str]:
    """Yield why goldens that are there do not fit."""
    for each in survey.begun.rejected if survey.begun is not None else ():
        yield f"  {paint('dim', '·')} {each}"


def suggestions(commands: Mapping[str, str], paint: Paint) -> Iterator[str]:
    """Yield commands worth trying next, each with what it is for."""
    width = max(map(len, commands), default=0)
    for command, purpose in commands.items():
        yield f"  {paint('cyan', f'{command:<{width}}')}  {paint('dim', purpose)}"


def status(survey: Survey, paint: Paint, *, spec: str = "", verbose: bool = False) -> Iterator[str]:
    """Yield what runs, where, at which revision, and how it differs; ``spec`` is its path as the user typed it."""
    state = survey.status
    word = paint(SERVER_STYLES.get(state.server, "yellow"), state.server)
    yield f"{paint('bold', survey.spec.name)}: {word}, {_drift(survey)}"
    if state.detail:
        yield f"  {with_spec(state.detail, spec)}"
    facts = _facts(survey, verbose=verbose)
    width = max(map(len, facts))
    for key, fact in facts.items():
        yield f"  {paint('dim', f'{key:<{width}}')}  {fact}"
    if state.cluster is not None:
        yield from members(state.cluster, paint)
    for each in grouped(survey.plan.steps, every=verbose):
        word = "perhaps" if is_foretold(each[0]) else "pending"
        yield f"  {paint('yellow', word.ljust(width))}  {each[0].action} {subject(each)}"
    yield from left(survey.plan, paint)


def _drift(survey: Survey) -> str:
    """Say how far the server is from the spec."""
    steps = survey.plan.steps
    pending = sum(not is_foretold(step) for step in steps)  # only a running server shows the others, as in a plan
    drift = f"{count(pending, 'change')} pending" if steps else "as the spec says"
    if pending < len(steps):
        drift = f"{drift}; more may follow"
    if (survey.plan.unknown or survey.plan.partial) and not steps:
        drift = "nothing known to differ"
    drift = "how it differs is not known" if survey.refusal else drift
    if stays := len(survey.plan.notes) + len(survey.plan.overrides):
        others = f"{count(stays, 'difference')} for others to change"
        drift = f"{drift}, {others}" if steps else others
    return drift


def _facts(survey: Survey, *, verbose: bool) -> dict[str, str]:
    state = survey.status
    facts = {
        "runtime": f"{survey.runtime}, {survey.reason}" if survey.reason else survey.runtime,
        "version": f"PostgreSQL {state.version}" if state.version else "",
        "image": state.image,
        "container": state.container,
        "process": state.process,
        "started": _moment(state.started),
        "clients": f"{state.clients} connected" if state.clients else "",
        "data": state.data,
        "url": survey.login.url(masked=True) if survey.login else "",
        **{
            f"migrations {tree}" if len(state.revisions) > 1 else "migrations": ", ".join(
                (_at(rows) + _where(survey, tree), *_behind(survey, tree))
            )
            for tree, rows in state.revisions.items()
        },
        **{
            f"tenants {tree}" if len(state.tenants) > 1 else "tenants": tenants(survey, tree, verbose=verbose)
            for tree in state.tenants
        },
        **(_ledgers(survey.observed) if verbose else {}),
    }
    return {key: fact for key, fact in facts.items() if fact}


def tenants(survey: Survey, tree: str, *, verbose: bool = False) -> str:
    """Return where the tenants of a tree are: ``183 at head, 17 at 0018``; ``verbose``: with their names."""
    target = getattr(survey.desired[Address(migrations.KIND, tree)], "target", ())
    is_head = next(each.target for each in survey.spec.migrations if each.name == tree) in ("head", "heads")
    found = []
    for rows, names in survey.status.tenants[tree]:
        at = _standing(rows) + (" (head)" if is_head and rows == target else "")
        found.append(f"{len(names)} {at}" + (f": {some_of(names, most=_MOST_TENANTS)}" if verbose else ""))
    return ("; " if verbose else ", ").join(found) or "none"


def _moment(iso: str | None) -> str | None:
    """Return a moment in UTC to the second: an engine has nanoseconds."""
    is_utc = iso is not None and iso.endswith(("Z", "+00:00"))
    return f"{iso[:19].replace('T', ' ')} UTC" if iso and is_utc else iso


def _ledgers(observed: Observed) -> dict[str, str]:
    """Return of how many applied revisions the ledger knows what was in their files."""
    found = {address.name: state.known for address, state in observed.items() if isinstance(state, Revisions)}
    return {
        f"ledger {tree}" if len(found) > 1 else "ledger": f"knows {known.recorded} of {known.applied} applied revisions"
        for tree, known in found.items()
        if known is not None
    }


def verification(seen: Verification, console: Console, paint: Paint | None = None) -> Iterator[str]:
    """Yield the verdict, each thing that differs with its fields, what could not be seen, and what to do."""
    paint, elapsed = paint or console.paint(console.out), console.elapsed()
    name = paint("bold", seen.survey.spec.name)
    if seen.is_clean:
        word = "nothing known to differ" if seen.survey.plan.partial else "as declared"
        yield f"{name}: {paint('green', word)} ({count(seen.compared, 'thing')} compared)  {seconds(elapsed)}"
        yield from left(Plan(partial=seen.survey.plan.partial, remarks=seen.remarks), paint)
        return
    things = dict.fromkeys(each.address for each in seen.differences)
    verdict = f"{len(things)} of {count(seen.compared, 'thing')} not as declared" if things else "not as declared"
    if seen.survey.plan.unknown and not (things or seen.notes or seen.survey.refusal):
        verdict = "not all of it could be compared"
    yield f"{name}: {paint('yellow', verdict)}  {seconds(elapsed)}"
    for address in things:
        yield f"  {paint('yellow', '≠')} {paint('bold', str(address))}"
        yield from (f"      {each.text}" for each in seen.differences if each.address == address)
    if seen.unseen:
        why = f" (the server is {seen.survey.status.server})" if seen.survey.status.server != "running" else ""
        yield f"  {paint('dim', '?')} cannot be seen{why}: {', '.join(map(str, seen.unseen))}"
    plan = seen.survey.plan
    yield from left(Plan((), seen.notes, remarks=seen.remarks, unknown=plan.unknown, partial=plan.partial), paint)
    if seen.survey.refusal:
        yield f"  {paint('red', '✗')} apply refuses: {seen.survey.refusal.sentence}"
        yield from (f"      {with_spec(line, console.spec)}" for line in seen.survey.refusal.evidence)


_KILO = 1024


def members(cluster: Cluster, paint: Paint) -> Iterator[str]:
    """Yield the cluster in a line, then each member in one: role, state, lag, another timeline, what it waits for."""
    leader = cluster.leader
    facts = [f"the leader is {leader.name}" if leader else paint("red", "there is no leader")]
    facts += [f"timeline {leader.timeline}"] if leader and leader.timeline is not None else []
    facts += [paint("yellow", "paused")] if cluster.is_paused else []
    yield f"  {clean(cluster.title)}: {', '.join(facts)}"
    rows = [_row(each, leader.timeline if leader else None) for each in cluster.members]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, each in zip(rows, cluster.members, strict=True):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width)
        names = f" ({', '.join(each.pending)})" if each.pending else ""
        waits = "  " + paint("yellow", f"pending restart{names}") if each.is_pending else ""
        yield f"    {paint('red', line) if not each.is_well else line}{waits}".rstrip()


def _row(member: Member, timeline: int | None) -> tuple[str, ...]:
    where = socket_address(member.host, member.port) if member.host is not None else "?"
    lag = "" if member.leads else f"lag {_amount(member.lag)}"
    other = f"timeline {member.timeline}" if member.timeline not in (None, timeline) else ""
    return tuple(map(clean, (member.name, member.role.replace("_", " "), member.state, where, lag, other)))


def _amount(lag: int | None) -> str:
    if lag is None:
        return "?"
    return size(lag) if lag >= _KILO else f"{lag} B"
