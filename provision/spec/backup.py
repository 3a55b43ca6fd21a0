"""The section ``backup``: before what a backup is made, and how many of these are kept."""

from __future__ import annotations

from provision.spec.access import Backup
from provision.spec.readers import choice, list_of, number
from provision.spec.reading import Key, Reading, mapping, read_table
from provision.spec.yaml import Node

_KINDS = ("downgrade", "destructive", "upgrade")


BACKUP_KEYS = {"before": Key(list_of(choice(*_KINDS), "[downgrade, destructive]")), "keep": Key(number("backups", 999))}


def backup(node: Node, reading: Reading) -> Backup:
    """Read the section; without ``before``, no backup is made by itself."""
    entries = mapping(node, "`{before: [downgrade, destructive, upgrade], keep: 5}`")
    return Backup(**read_table(entries, BACKUP_KEYS, reading, "`backup`"))
