"""What ``provision import`` has found: the sections of a spec, and what to do with them."""

from __future__ import annotations

from collections.abc import Iterator

from provision.insight.importing import Imported
from provision.model.words import count
from provision.report.console import Console
from provision.report.words import clean
from provision.spec import writing
from provision.spec.model import Spec


def lines(found: Imported, spec: Spec) -> Iterator[str]:
    """Yield the sections as YAML, with what is not in them as comments."""
    server = spec.server
    yield ""
    at = server.host if server.port is None else f"{server.host}:{server.port}"
    yield f"# From {at}, PostgreSQL {server.major}. Roles that exist keep their passwords."
    yield "# On another server a login gets the one that `password` names, or a generated one."
    yield from (f"# Not here: {clean(each)}" for each in found.left)
    yield from writing.lines(found.roles, found.databases)


def advice(found: Imported, spec: Spec, console: Console) -> Iterator[str]:
    """Yield what was found, and the next commands."""
    paint = console.paint(console.err)
    if console.quiet:
        return
    what = f"{count(len(found.roles), 'role')}, {count(len(found.databases), 'database')}"
    yield f"{paint('bold', spec.name)}: {what}  {console.elapsed():.2f} s"
    yield from (f"  {paint('yellow', '!')} not in it: {clean(each)}" for each in found.left)
    there = [name for name in ("roles", "databases") if getattr(spec, name)]
    if there:
        yield f"{paint('cyan', 'next:')} replace {' and '.join(there)} in the spec, then: {console.line('plan')}"
        return
    path = console.path or spec.path.name
    into = "" if console.fills_a_file else f"provision import {path} >> {path} && "
    yield f"{paint('cyan', 'next:')} {into}{console.line('plan')}   # nothing to do"
