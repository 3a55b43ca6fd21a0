"""What ``pg_control`` says of a server that was shut down; nothing here looks at the world.

The fields before the checkpoint are at the same place in all supported versions, and so are those that are read of it:
https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_control.h
"""

from __future__ import annotations

import struct
import sys
from typing import NamedTuple

PATH = "global/pg_control"
_SHUT_DOWN = 1
"""DB_SHUTDOWNED of the enumeration DBState."""
_FIELDS = struct.Struct("=Q8xI12xQ8xI12xQ")
"""The system's identifier, the state, the place of the last checkpoint; of that the timeline and the next xid."""
_PAGE = 8192
_NAMES_PER_ID = 0x1_0000_0000


class Control(NamedTuple):
    """The control data of a cluster. ``next_xid`` is that of its last checkpoint, with the epoch before it."""

    system: str
    is_shut_down: bool
    checkpoint: int
    timeline: int
    next_xid: int

    def segment(self, size: int) -> str:
        """Return the name of the WAL file with the last checkpoint, where such a file has ``size`` bytes."""
        number, per_id = self.checkpoint // size, _NAMES_PER_ID // size
        return f"{self.timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def read(content: bytes) -> Control | None:
    """Return what the file says; None where it is too short for one."""
    if len(content) < _FIELDS.size:
        return None
    system, state, checkpoint, timeline, next_xid = _FIELDS.unpack_from(content)
    return Control(str(system), state == _SHUT_DOWN, checkpoint, timeline, next_xid)


def end_of_log(control: Control, size: int, segment: bytes) -> int:
    """Return how much of the WAL file with the checkpoint is in use: up to the end of the page where its record ends.

    The server writes whole pages, so no older text is in that one.
    """
    at = control.checkpoint % size
    length = int.from_bytes(segment[at : at + 4], sys.byteorder)
    end = at + length
    if end // _PAGE != at // _PAGE:
        end += 24 * (end // _PAGE - at // _PAGE)  # the header of each further page
    return min(-(-end // _PAGE) * _PAGE, size)
