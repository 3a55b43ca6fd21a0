"""How large tables are, as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from provision.insight.tables import Table

_UNITS: Final = ("kB", "MB", "GB", "TB")
_KILO: Final = 1024


def size(number: int) -> str:
    """Return a number of bytes as PostgreSQL's ``pg_size_pretty`` counts them.

    >>> size(0), size(8192), size(20_132_659), size(43 << 30)
    ('0 kB', '8 kB', '19.2 MB', '43.0 GB')
    """
    amount, unit = number / _KILO, 0
    while amount >= _KILO and unit < len(_UNITS) - 1:
        amount, unit = amount / _KILO, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{amount:.0f} kB"


def rows(number: int | None) -> str:
    """Return a number of rows; nothing is known before the first ANALYZE."""
    return "?" if number is None else f"{number:,}"


def amount(table: Table) -> str:
    """Return how large a table is, in words."""
    counted = "rows not counted yet" if table.rows is None else f"about {table.rows:,} rows"
    return f"{counted}, {size(table.size)}"
