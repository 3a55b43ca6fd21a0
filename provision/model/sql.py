"""Names and texts as they stand in a statement.

https://www.postgresql.org/docs/current/sql-syntax-lexical.html
"""

from __future__ import annotations


def identifier(*names: str) -> str:
    r"""Return a quoted name, or a qualified one.

    >>> identifier("public", 'a"b')
    '"public"."a""b"'
    """
    return ".".join('"{}"'.format(name.replace('"', '""')) for name in names)


def literal(text: str) -> str:
    r"""Return a quoted text, whatever `standard_conforming_strings` says.

    >>> print(literal("it's"), literal("a\\b"))
    'it''s' E'a\\\\b'
    """
    doubled = text.replace("'", "''")
    return "E'{}'".format(doubled.replace("\\", "\\\\")) if "\\" in text else f"'{doubled}'"
