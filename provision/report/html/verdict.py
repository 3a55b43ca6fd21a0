"""What the page says first: how an environment is, and what the next apply would mean for it, in a line each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from provision.alembic import destroys, statements
from provision.model import Action, Step
from provision.model.words import count
from provision.report.html.pending import LOST, worst
from provision.report.html.words import Word, near
from provision.report.plan import moved, moved_tenants, total
from provision.report.words import is_foretold
from provision.review import Review, touching

_SERVER: Final = ("container", "process", "server")
_TYPES: Final = r"(?is)\bALTER\s+(?:COLUMN\s+)?\S+\s+(?:SET\s+DATA\s+)?TYPE\b"
_HAPPENS: Final = (
    (touching.DROPS, "bad", "is dropped", "are dropped"),
    (touching.EMPTIES, "bad", "is emptied", "are emptied"),
    (touching.LOSES, "bad", "loses a column", "lose columns"),
    (touching.REWRITES, "bad", "is rewritten", "are rewritten"),
    (touching.MAY_REWRITE, "warn", "may be rewritten", "may be rewritten"),
    (touching.LOCKS, "warn", "is locked", "are locked"),
    (touching.BLOCKS, "warn", "is locked for writers", "are locked for writers"),
    (touching.WRITES, "", "gets other rows", "get other rows"),
)
"""What is said of tables by the worst that happens to them: its tone, and the words for one and for several."""
_NEXT: Final = "The next apply "
_SPARES: Final = "no data is destroyed"


class Verdict(NamedTuple):
    """``state`` is one word for programs, ``tone`` that of the style sheet, ``parts`` the consequence, bit by bit.

    ``lead`` is how the sentence of the consequence begins.
    """

    state: str
    tone: str
    headline: str
    parts: tuple[Word, ...]
    lead: str = ""


def verdict(review: Review) -> Verdict:
    """Judge what was found."""
    seen, found = review.survey, review.verification
    if seen.refusal is not None:
        nothing = Word("Nothing would be changed")
        return Verdict("refused", "bad", f"Refused: {near(seen.spec, seen.refusal.sentence)}", (nothing,))
    state, parts = seen.status.server, tuple(_parts(review))
    if found.is_clean and state not in ("stopped", "unreachable"):
        compared = f"{count(found.compared, 'thing')} compared, none of them differs"
        quiet = (Word(compared), Word("the next apply does nothing", "good"))
        return Verdict("clean", "good", "Everything is as declared", quiet)
    if state == "absent":
        return Verdict("absent", "quiet", f"Nothing is there yet: {total(seen.plan)}", parts, _NEXT)
    if state == "unreachable":
        return Verdict(
            "unreachable", "bad", "The server does not answer", (Word(near(seen.spec, seen.status.detail or state)),)
        )
    if state in ("stopped", "paused"):
        return Verdict("stopped", "warn", f"The server is {state}: what differs in it is not known", parts, _NEXT)
    return Verdict(*_differing(review), parts, "" if found.notes and not seen.plan.steps else _NEXT)


def _differing(review: Review) -> tuple[str, str, str]:
    """Return state, tone and headline of what runs, and is not as declared."""
    found, plan = review.verification, review.survey.plan
    things = len({each.address for each in found.differences})
    revisions = sum(len(each.rendering.revisions) for tree in review.trees for each in tree.scripts if each.rendering)
    words = [f"{count(things, 'thing')} {'differs' if things == 1 else 'differ'}"] if things else []
    many = [*moved_tenants([each for each in plan.steps if not is_foretold(each)], "to migrate")]
    words += many or ([f"{count(revisions, 'revision')} pending"] if revisions else [])
    if plan.steps or things:
        return "pending", "warn", f"Not as declared: {', '.join(words) or 'see below'}"
    if found.notes:
        return "left", "warn", f"Not as declared: {count(len(found.notes), 'difference')} for others to change"
    return "unknown", "quiet", "Nothing is known to differ, and not all could be compared"


def _parts(review: Review) -> Iterator[Word]:
    """Yield what an apply would do, the most disruptive first, and whether data is lost."""
    steps = [each for each in review.survey.plan.steps if not is_foretold(each)]
    if any(each.destroys for each in steps):
        yield Word("DESTROYS DATA", "bad")
    found = [*_of_server(review, steps), *_of_revisions(review, steps)]
    yield from found
    if steps and not found:
        yield Word(f"changes {count(len(steps), 'thing')}")
    if not steps and review.verification.notes:
        yield Word("An apply leaves them to others")
    elif _is_safe(review, steps):
        yield Word(_SPARES)


def _of_server(review: Review, steps: Sequence[Step]) -> Iterator[Word]:
    actions = {each.action for each in steps if each.address.kind in (*_SERVER, "settings")}
    clients = max((each.clients for each in steps), default=0)
    lost = f", and disconnects {count(clients, 'client')}" if clients else ""
    if Action.RECREATE in actions:
        yield Word(f"replaces the server{lost}, and keeps its data", "warn")
    elif Action.RESTART in actions:
        yield Word(f"restarts the server{lost}", "warn")
    elif actions & {Action.CREATE, Action.START} and review.survey.status.server != "running":
        yield Word("starts the server")
    elif Action.RELOAD in actions:
        yield Word("reloads settings")


def _of_revisions(review: Review, steps: Sequence[Step]) -> Iterator[Word]:
    yield from (Word(f"runs {each}") for each in moved(steps, "", ""))
    yield from (Word(f"migrates {each}") for each in moved_tenants(steps, "of them"))
    found = [touch for name in {each.database for each in review.trees} for touch in worst(review, name).values()]
    for what, tone, one, many in _HAPPENS:
        number = sum(each.what == what for each in found)
        if number:
            yield Word(f"{count(number, 'table')} {one if number == 1 else many}", tone)


def _is_safe(review: Review, steps: Sequence[Step]) -> bool:
    """Tell whether no data goes away, as far as the SQL says; a column of another type keeps its values, or fails."""
    scripts = [script for tree in review.trees for script in tree.scripts]
    rendered = [each for script in scripts if script.rendering for each in script.rendering.revisions]
    texts = [statement.text for each in rendered for statement in statements(each.pieces)]
    is_known = not any(tree.problem or "sql" in tree.without for tree in review.trees)
    is_known &= all(each.upgrade for each in scripts) and not any(each.reason for each in rendered)
    lost = any(destroys(each) and not re.search(_TYPES, each) for each in texts)
    lost |= any(touch.what in LOST for tree in review.trees for touch in worst(review, tree.database).values())
    return is_known and not lost and not any(each.destroys for each in steps)
