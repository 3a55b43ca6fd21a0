"""The clones of an environment, as text and as documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.clones import Listed
from provision.model import Endpoint
from provision.model.words import count, size
from provision.report.console import Paint
from provision.report.documents import Document, address_of
from provision.report.words import fields, head
from provision.spec.model import Spec


def lines(spec: Spec, found: Sequence[Listed], kept: Sequence[str], paint: Paint) -> Iterator[str]:
    """Yield how many there are, and a line for each; then those that test runs have kept."""
    number = len(found) + len(kept)
    yield f"{paint('bold', spec.name)}: {count(number, 'clone') if number else 'no clones'}"
    for each in found:
        said = [size(each.size)]
        said += [f"of {each.database}, made {each.made[:19].replace('T', ' ')} UTC"] if each.database else []
        said += [f"{count(each.clients, 'client')} connected"] if each.clients else []
        yield f"  {each.name}  {', '.join(said)}"
    yield from (f"  {each}  kept by a test run, in its own server" for each in kept)


def dropped(spec: Spec, names: Sequence[str], paint: Paint) -> Iterator[str]:
    """Yield what was dropped."""
    yield f"{paint('bold', spec.name)}: {count(len(names), 'clone') if names else 'no clones'} dropped"
    yield from (f"  {paint('red', '-')} {each}" for each in names)


def clone(spec: Spec, made: Endpoint) -> Document:
    """Return the document of a clone that was made; ``provision url --database NAME`` has its URL."""
    return {**head("clone", spec), "name": made.database, "endpoint": address_of(made)}


def document(spec: Spec, found: Sequence[Listed], kept: Sequence[str], dropped: Sequence[str] = ()) -> Document:
    """Return the document of the clones that there are, of those that test runs have kept, and that were dropped."""
    listed = [fields(each, "name database made size clients") for each in found]
    return {**head("clones", spec), "clones": listed, "kept": list(kept), "dropped": list(dropped)}
