"""What is asked for: a verb, and what it is about."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Verb(Enum):
    """What to do."""

    SAVE = "save"
    RESTORE = "restore"
    UNDO = "undo"
    RESET = "reset"
    REMOVE = "rm"


class Request(NamedTuple):
    """A verb, the ``name`` of the snapshot that it is about, and a ``database``; None: every declared one.

    ``is_whole``: it is about the whole cluster, with its roles and all databases.
    """

    verb: Verb
    name: str = ""
    database: str | None = None
    is_automatic: bool = False
    is_whole: bool = False
