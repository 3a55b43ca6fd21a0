"""The section ``backup``: before what a backup is made, and how many of these are kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provision.spec.access import Backup
from provision.spec.readers import choice, list_of
from provision.spec.reading import Key, Wrong, mapping, read_table, scalar

if TYPE_CHECKING:
    from provision.spec.reading import Reading
    from provision.spec.yaml import Node

_KINDS = ("downgrade", "destructive", "upgrade")


def _keep(node: Node, reading: Reading) -> int:
    found = scalar(node, "a number of backups")
    if not re.fullmatch(r"[1-9][0-9]{0,2}", reading.text(found)):
        raise Wrong(f"{reading.show(found)} is not a number of backups", "write a number from 1 to 999")
    return int(reading.text(found))


BACKUP_KEYS = {
    "before": Key(list_of(choice(*_KINDS), "[downgrade, destructive]")),
    "keep": Key(_keep),
}


def backup(node: Node, reading: Reading) -> Backup:
    """Read the section; without ``before``, no backup is made by itself."""
    entries = mapping(node, "`{before: [downgrade, destructive, upgrade], keep: 5}`")
    return Backup(**read_table(entries, BACKUP_KEYS, reading, "`backup`"))
