"""All environments of a machine, as lines of text and as a document."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from provision.errors import as_word
from provision.everywhere.found import Known, Listing
from provision.model import NOT_KNOWN
from provision.model.words import size
from provision.report.console import Paint
from provision.report.survey import SERVER_STYLES
from provision.report.words import fields

_STATES: Final = {**SERVER_STYLES, "absent": "dim"}


def lines(found: Listing, paint: Paint) -> Iterator[str]:
    """Yield two lines for each environment: what it is, and where its spec is or was."""
    if not found.environments:
        yield "no environments"
    rows = [_columns(each) for each in found.environments]
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(6)]
    for each, row in zip(found.environments, rows, strict=True):
        name, state, *others = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        told = [paint("bold", name), paint(_STATES.get(each.state, "yellow"), state), *others]
        yield "  ".join(told).rstrip()
        yield f"    {paint('dim', f'{each.runtime}, {_shown(each.spec or each.directory)}')}"
        if each.is_gone:
            remove = _removal(each, found.environments)
            yield f"    {paint('yellow', '!')} the directory is gone; to remove it: {remove}"
        if each.not_mine:
            yield f"    {paint('dim', '·')} {each.not_mine}"


def _columns(row: Known) -> tuple[str, ...]:
    address = f"{row.host}:{row.port}{row.behind and f' of {row.behind}'}" if row.port else "-"
    known = size(row.size) if row.size is not None else NOT_KNOWN
    return row.name, row.state, row.version or NOT_KNOWN, address, _revision(row), known


def _revision(row: Known) -> str:
    if row.revisions is None:
        return NOT_KNOWN
    if not row.revisions:
        return "-"
    several = len(row.revisions) > 1
    said = [f"{f'{tree} ' if several else ''}{' + '.join(each) or 'none'}" for tree, each in row.revisions.items()]
    return ", ".join(said)


def _removal(row: Known, every: Sequence[Known]) -> str:
    is_one_of_several = sum(each.name == row.name for each in every) > 1
    more = f" --directory {as_word(row.directory)}" if is_one_of_several else ""
    return f"provision destroy --data --name {row.name}{more}"


def _shown(path: Path) -> str:
    """Return a path below this directory as relative, and one below that of the user with a tilde."""
    here = Path(os.getcwd())  # noqa: PTH109  # keeps links
    if path.is_relative_to(here):
        return str(path.relative_to(here))
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def document(found: Listing) -> dict[str, Any]:
    """Return the document of all environments."""
    return {
        "schema": "provision/list/1",
        "engine_error": found.silence or None,
        "environments": [_environment(each) for each in found.environments],
    }


def _environment(row: Known) -> dict[str, Any]:
    revisions = row.revisions
    return {
        "environment": row.name,
        **fields(row, "runtime state"),
        "version": row.version or None,
        "address": {"host": row.host, "port": row.port} if row.port and not row.behind else None,
        "revisions": None if revisions is None else {tree: list(rows) for tree, rows in revisions.items()},
        **fields(row, "size directory"),
        "directory_is_gone": row.is_gone,
        **fields(row, "spec"),
        "mine": not row.not_mine,
        "not_mine": row.not_mine or None,
        "container": row.container or None,
        **fields(row, "volumes data"),
    }
