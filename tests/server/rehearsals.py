"""What the tests of scratch databases share: a tree as the verbs get it, its laws tried, and what is left behind."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from provision.alembic.trees import Tree, load as read
from provision.alembic.verbs.laws import Law, try_laws
from provision.spec.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

    from provision.spec.model import Migrations


def tree_of(home: Path, declared: Migrations) -> Tree:
    """Return a tree as the verbs get it: the spec with it."""
    spec = home / "spec.yml"
    spec.write_text("name: laws-test\nserver: {image: 'postgres:18'}\n")
    graph, location = read(declared)
    return Tree(load(spec, {}), declared, graph, location)


def tried(home: Path, database: Server, declared: Migrations) -> dict[str, Law]:
    """Try the laws, and see that no scratch database is left and that the declared one is as it was."""
    found = try_laws(tree_of(home, declared), database.endpoint, lambda _law: None)
    assert scratch_databases(database) == []
    assert database.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]
    return {law.name: law for law in found}


def scratch_databases(server: Server) -> list[str]:
    """Return the names of the scratch databases that are there."""
    return [name for (name,) in server.execute("SELECT datname FROM pg_database WHERE datname ~ '^provision_scratch_'")]


def change(home: Path, name: str, *, up: str | None = None, down: str | None = None, head: str = "") -> None:
    """Write another body of a revision's functions."""
    path = home / "migrations" / "versions" / f"{name}.py"
    text = path.read_text()
    for function, body in (("upgrade", up), ("downgrade", down)):
        if body is not None:
            written = f"def {function}():\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
            text = re.sub(rf"def {function}\(\):\n(?:    .*\n|\n)+", lambda _match, new=written: new, text)
    path.write_text(head + text)
