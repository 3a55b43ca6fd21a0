"""Names of objects as SQL writes them: parsed into their parts, and quoted as PostgreSQL's ``quote_ident`` does.

What the catalogs say and what a spec says is brought to one spelling, so that they compare with ``==``.
https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Keywords that pg_get_keywords() does not call unreserved: quote_ident quotes them. Later versions have more.
_KEYWORDS = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast
    char character check coalesce collate collation column concurrently constraint create cross current_catalog
    current_date current_role current_schema current_time current_timestamp current_user dec decimal default deferrable
    desc distinct do else end except exists extract false fetch float for foreign freeze from full grant greatest group
    grouping having ilike in initially inner inout int integer intersect interval into is isnull join lateral leading
    least left like limit localtime localtimestamp national natural nchar none normalize not notnull null nullif numeric
    offset on only or order out outer overlaps overlay placing position precision primary real references returning
    right row select session_user setof similar smallint some substring symmetric table tablesample then time timestamp
    to trailing treat trim true union unique user using values varchar variadic verbose when where window with
    xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
    """.split()  # noqa: SIM905  # as a list it takes a line for each
)
_KEYWORDS_SINCE = {
    16: frozenset({"json_array", "json_arrayagg", "json_object", "json_objectagg", "system_user"}),
    17: frozenset(
        {
            "json",
            "json_exists",
            "json_query",
            "json_scalar",
            "json_serialize",
            "json_table",
            "json_value",
            "merge_action",
        }
    ),
}
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def quote(name: str, major: int) -> str:
    """Return ``name`` as ``quote_ident`` of this major version does: in quotes only where SQL needs them.

    >>> quote("customers", 17), quote("q a", 17), quote("user", 17), quote("json", 16), quote("json", 17)
    ('customers', '"q a"', '"user"', 'json', '"json"')
    """
    is_keyword = name in _KEYWORDS or any(name in words for since, words in _KEYWORDS_SINCE.items() if major >= since)
    if _PLAIN.fullmatch(name) and not is_keyword:
        return name
    return '"{}"'.format(name.replace('"', '""'))


class NotANameError(ValueError):
    """The text is not a name as SQL writes it; the message says why, and ``advice`` what to write."""

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice


class Parsed(NamedTuple):
    """The parts of a qualified name, unquoted, and what comes behind them: ``(integer, text)`` or ``.*``."""

    parts: tuple[str, ...]
    rest: str


# Letters beyond ASCII count as letters, as in PostgreSQL's scan.l.
_PART = re.compile(r'"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)')


def parse(text: str) -> Parsed:
    r"""Return the parts of a name.

    >>> parse('shop."q a"'), parse("audit.*")
    (Parsed(parts=('shop', 'q a'), rest=''), Parsed(parts=('audit',), rest='.*'))

    Raises:
        NotANameError: it is not one.
    """
    parts: list[str] = []
    place = 0
    while match := _PART.match(text, place):
        plain, quoted = match["plain"], match["quoted"]
        if plain is not None and plain != plain.lower():
            raise NotANameError(
                f"`{plain}` has upper-case letters, which SQL makes lower-case ones without quotes",
                f'write `"{plain}"`, or `{plain.lower()}`',
            )
        parts.append(plain if plain is not None else quoted.replace('""', '"'))
        place = match.end()
        if text[place : place + 1] != "." or text[place : place + 2] == ".*":
            return Parsed(tuple(parts), text[place:].strip())
        place += 1
    raise NotANameError("it is not a name as SQL writes it", 'for example `shop.customers` or `shop."q a"`')


def qualified(schema: str, name: str, major: int) -> str:
    """Return a name with its schema, as SQL writes it."""
    return f"{quote(schema, major)}.{quote(name, major)}"


def split(name: str) -> tuple[str, str]:
    """Return the schema of a name as :func:`qualified` writes it, unquoted, and what comes behind the dot as it is.

    >>> split('"q a".refund(integer, text)')
    ('q a', 'refund(integer, text)')
    """
    match = _PART.match(name)
    if match is None:
        raise NotANameError("it is not a name as SQL writes it")
    schema = match["plain"] if match["plain"] is not None else match["quoted"].replace('""', '"')
    return schema, name[match.end() + 1 :]


# Types of arguments, as format_type of pg_catalog writes them.

_TYPES = {
    "int": "integer",
    "int4": "integer",
    "int2": "smallint",
    "int8": "bigint",
    "float4": "real",
    "float": "double precision",
    "float8": "double precision",
    "decimal": "numeric",
    "dec": "numeric",
    "bool": "boolean",
    "varchar": "character varying",
    "char varying": "character varying",
    "national character varying": "character varying",
    "national char varying": "character varying",
    "nchar varying": "character varying",
    "char": "character",
    "bpchar": "character",
    "national character": "character",
    "national char": "character",
    "nchar": "character",
    "varbit": "bit varying",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
}
_WORDS = {
    *_TYPES.values(),
    *("bit", "interval", "numeric"),
}
"""Types whose names are words of SQL's grammar, and so stand without quotes."""


def argument_type(text: str, major: int) -> str:
    """Return a type as the server writes it in the signature of a routine.

    >>> argument_type("int", 17), argument_type("varchar(20)[]", 17), argument_type('shop."Mood"', 17)
    ('integer', 'character varying[]', 'shop."Mood"')

    Raises:
        NotANameError: it is not the name of a type.
    """
    bare, arrays = re.fullmatch(r"(.*?)((?:\s*\[[0-9]*\])*)", text.strip(), re.DOTALL).groups()  # type: ignore[union-attr]
    array = "[]" if arrays or re.search(r"(?i)\sarray$", bare) else ""
    words = " ".join(re.sub(r"\([0-9,\s]*\)|\sarray$", " ", bare, flags=re.IGNORECASE).split())
    folded = words.lower()
    if folded.startswith("interval"):
        folded = "interval"
    if folded in _TYPES or folded in _WORDS:
        return _TYPES.get(folded, folded) + array
    found = parse(words)
    if found.rest or not 1 <= len(found.parts) <= 2:  # noqa: PLR2004  # a schema and a name
        raise NotANameError(f"`{text.strip()}` is not a type", "write the types only, for example `(integer, text)`")
    if found.parts[0] == "pg_catalog" and len(found.parts) == 2:  # noqa: PLR2004
        return argument_type(found.parts[1], major) + array
    return ".".join(quote(each, major) for each in found.parts) + array


def signature(text: str, major: int) -> str:
    """Return the types of arguments between their parentheses, as the server writes them.

    Raises:
        NotANameError: they are not written that way.
    """
    if not (text.startswith("(") and text.endswith(")")):
        raise NotANameError("the types of its arguments are missing", "write them, as in `shop.refund(integer, text)`")
    inner = text[1:-1].strip()
    types = re.findall(r'((?:"(?:[^"]|"")*"|\([^()]*\)|[^,"()])+)(?:,|$)', inner) if inner else []
    return "({})".format(", ".join(argument_type(each, major) for each in types))
