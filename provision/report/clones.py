"""The clones of an environment, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.model.words import count, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provision.clones import Listed
    from provision.report.console import Paint
    from provision.spec.model import Spec


def lines(spec: Spec, found: Sequence[Listed], paint: Paint) -> Iterator[str]:
    """Yield how many there are, and a line for each."""
    yield f"{paint('bold', spec.name)}: {count(len(found), 'clone') if found else 'no clones'}"
    for each in found:
        said = [size(each.size)]
        said += [f"of {each.database}, made {each.made[:19].replace('T', ' ')} UTC"] if each.database else []
        said += [f"{count(each.clients, 'client')} connected"] if each.clients else []
        yield f"  {each.name}  {', '.join(said)}"


def dropped(spec: Spec, names: Sequence[str], paint: Paint) -> Iterator[str]:
    """Yield what was dropped."""
    yield f"{paint('bold', spec.name)}: {count(len(names), 'clone') if names else 'no clones'} dropped"
    yield from (f"  {paint('red', '-')} {each}" for each in names)
