"""Alembic: the trees of a spec, what is applied of them, running them, and the verbs of ``provision migrate``.

The rest of the program imports from here alone, and gets a module loaded when it first uses a name of it: most runs
need nothing but the revision files. Below it,

- ``tree/`` knows a tree without running it, and is pure,
- ``trees``, ``state``, ``hidden`` and ``origin`` find its files, where a database is in it, a version table that its
  sessions miss, and where an unknown revision is from,
- ``running/`` brings a database to a target in a child process, whose code is in ``child/``,
- ``verbs/`` decides what a verb does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from provision.alembic.child.channel import masked_forms
    from provision.alembic.child.protocol import Read
    from provision.alembic.many import database_of, schemas_of
    from provision.alembic.origin import explain
    from provision.alembic.running.ask import Comparison, Rendered, Written
    from provision.alembic.running.command import filled
    from provision.alembic.running.events import MigrationEvent
    from provision.alembic.running.lock import LockConnection, lock_connection
    from provision.alembic.running.migrate import Manner, Migrated, migrate
    from provision.alembic.running.process import CHILD_NAME, Child, environment
    from provision.alembic.sessions import entered, located
    from provision.alembic.state import (
        KIND,
        Revisions,
        address,
        not_its_own,
        observed,
        partial,
        refuse_foreign,
        refuse_long,
        stranded,
        unread_directories,
    )
    from provision.alembic.tree.checking import Checked, Fault
    from provision.alembic.tree.graph import Graph
    from provision.alembic.tree.listing import Entry, entries, history
    from provision.alembic.tree.location import Location
    from provision.alembic.tree.targets import needs_rows, resolve, scope
    from provision.alembic.tree.version_table import Edit, edit_remarks, read_rows
    from provision.alembic.trees import Tree, Trees, check_trees, choose
    from provision.alembic.verbs.database import applied_rows, applied_with_times, asking, scratch_server
    from provision.alembic.verbs.destroying import Destroying, destroying, destroys
    from provision.alembic.verbs.files import applied_since, check_files
    from provision.alembic.verbs.laws import Law, one_head, try_laws
    from provision.alembic.verbs.lint import Finding, Linted, judged, lint
    from provision.alembic.verbs.moves import Decided, downgrade, next_apply, stamp, upgrade
    from provision.alembic.verbs.sql import Script, between, of_plan, statements
    from provision.alembic.verbs.trace import Trace, Traced, consequences, strongest, trace
    from provision.alembic.verbs.writing import advice, after_writing, check, merge, revision

_HOMES = {
    "child.channel": "masked_forms",
    "child.protocol": "Read",
    "many": "database_of schemas_of",
    "origin": "explain",
    "running.ask": "Comparison Rendered Written",
    "running.command": "filled",
    "running.events": "MigrationEvent",
    "running.migrate": "Manner Migrated migrate",
    "running.process": "CHILD_NAME Child environment",
    "running.lock": "LockConnection lock_connection",
    "sessions": "entered located",
    "state": "KIND Revisions address not_its_own observed partial refuse_foreign refuse_long stranded "
    "unread_directories",
    "tree.checking": "Checked Fault",
    "tree.graph": "Graph",
    "tree.listing": "Entry entries history",
    "tree.location": "Location",
    "tree.targets": "needs_rows resolve scope",
    "tree.version_table": "Edit edit_remarks read_rows",
    "trees": "Tree Trees check_trees choose",
    "verbs.database": "applied_rows applied_with_times asking scratch_server",
    "verbs.destroying": "Destroying destroying destroys",
    "verbs.files": "applied_since check_files",
    "verbs.laws": "Law one_head try_laws",
    "verbs.lint": "Finding Linted judged lint",
    "verbs.moves": "Decided downgrade next_apply stamp upgrade",
    "verbs.sql": "Script between of_plan statements",
    "verbs.trace": "Trace Traced consequences strongest trace",
    "verbs.writing": "advice after_writing check merge revision",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
