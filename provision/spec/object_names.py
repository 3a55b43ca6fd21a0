"""Names of objects as SQL writes them: parsed into their parts, and quoted as PostgreSQL's ``quote_ident`` does.

What a spec says is brought to the spelling of the catalogs, so that both compare with ``==``.
https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
"""

from __future__ import annotations

import re
from typing import NamedTuple

LONGEST_IDENTIFIER = 63  # NAMEDATALEN - 1: https://www.postgresql.org/docs/current/limits.html

# What pg_get_keywords() does not call unreserved, which quote_ident quotes; and what later versions added.
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
    """.split()  # noqa: SIM905  # a list has a line for each
)
_KEYWORDS_SINCE = {
    16: frozenset("json_array json_arrayagg json_object json_objectagg system_user".split()),  # noqa: SIM905
    17: frozenset(
        "json json_exists json_query json_scalar json_serialize json_table json_value merge_action".split()  # noqa: SIM905
    ),
}
_PLAIN = r"[a-z_][a-z0-9_]*"
# An identifier in scan.l: letters, where every character beyond ASCII counts as one, `_`, then digits and `$` too. To
# say what it is not compiles in a tenth of the time.
_FIRST, _LATER = r"[^\x00-@\[-^`{-\x7f]", r"[^\x00-#%-/:-@\[-^`{-\x7f]"
_PART = rf'"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>{_FIRST}{_LATER}*)'


def quote(name: str, major: int) -> str:
    """Return ``name`` as ``quote_ident`` of this major version does: in quotes only where SQL needs them.

    >>> quote("customers", 17), quote("q a", 17), quote("user", 17), quote("json", 16), quote("json", 17)
    ('customers', '"q a"', '"user"', 'json', '"json"')
    """
    is_keyword = name in _KEYWORDS or any(name in words for since, words in _KEYWORDS_SINCE.items() if major >= since)
    if re.fullmatch(_PLAIN, name) and not is_keyword:
        return name
    return '"{}"'.format(name.replace('"', '""'))


def qualified(schema: str, name: str, major: int) -> str:
    """Return a name with its schema, as SQL writes it."""
    return f"{quote(schema, major)}.{quote(name, major)}"


class NotANameError(ValueError):
    """The text is not what SQL takes for a name or a type; ``advice`` says what to write."""

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice


class Parsed(NamedTuple):
    """The parts of a qualified name, without quotes, and what comes behind them: ``(integer, text)`` or ``.*``."""

    parts: tuple[str, ...]
    rest: str


def parse(text: str) -> Parsed:
    r"""Return the parts of a name. Upper-case letters without quotes are refused: SQL would make them lower-case ones.

    >>> parse('shop."q a"'), parse("audit.*")
    (Parsed(parts=('shop', 'q a'), rest=''), Parsed(parts=('audit',), rest='.*'))

    Raises:
        NotANameError: it is not one.
    """
    parts: list[str] = []
    place = 0
    while match := re.compile(_PART).match(text, place):
        parts.append(_unquoted(match))
        place = match.end()
        if text[place : place + 1] != "." or text[place : place + 2] == ".*":
            return Parsed(tuple(parts), text[place:].strip())
        place += 1
    raise NotANameError("it is not a name as SQL writes it", 'for example `shop.customers` or `shop."q a"`')


def split(name: str) -> tuple[str, str]:
    """Return the schema of a qualified name, without quotes, and what comes behind the dot, as it is.

    >>> split('"q a".refund(integer, text)')
    ('q a', 'refund(integer, text)')
    """
    match = re.compile(_PART).match(name)
    if match is None or name[match.end() : match.end() + 1] != ".":
        raise NotANameError(f"{name!r} has no schema")
    return _unquoted(match), name[match.end() + 1 :]


def _unquoted(match: re.Match[str]) -> str:
    plain, quoted = match["plain"], match["quoted"]
    if plain is not None and re.search("[A-Z]", plain):  # scan.l folds those of ASCII, with UTF-8 no others
        raise NotANameError(
            f"`{plain}` has upper-case letters, which SQL makes lower-case ones",
            f'write `"{plain}"` in double quotes, or `{plain.lower()}`',
        )
    found = str(plain if plain is not None else quoted.replace('""', '"'))
    if (size := len(found.encode())) > LONGEST_IDENTIFIER:
        raise NotANameError(f"a name in it has {size} bytes, and PostgreSQL keeps {LONGEST_IDENTIFIER} of them")
    return found


# Types of arguments, as format_type() writes them while the search path is pg_catalog.

_ALIASES = {
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float": "double precision",
    "float4": "real",
    "float8": "double precision",
    "dec": "numeric",
    "decimal": "numeric",
    "bool": "boolean",
    "bpchar": "character",
    "char": "character",
    "nchar": "character",
    "national char": "character",
    "national character": "character",
    "varchar": "character varying",
    "char varying": "character varying",
    "nchar varying": "character varying",
    "national char varying": "character varying",
    "national character varying": "character varying",
    "varbit": "bit varying",
    "time": "time without time zone",
    "timetz": "time with time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}
_WORDS = frozenset({*_ALIASES.values(), "bit", "interval", "json"})
"""Types that the grammar of SQL writes, and that have no quotes although their names are keywords."""
_QUOTED = ("char", "any")
"""Types whose names are keywords that mean another type, or none, without quotes."""
# The other types of pg_catalog, which are the same from 14 to 18.
_KNOWN_UP_TO = 18
_BUILT_IN = frozenset(
    """
    aclitem anyarray anycompatible anycompatiblearray anycompatiblemultirange anycompatiblenonarray anycompatiblerange
    anyelement anyenum anymultirange anynonarray anyrange box bytea cid cidr circle cstring date datemultirange
    daterange event_trigger fdw_handler gtsvector index_am_handler inet int2vector int4multirange int4range
    int8multirange int8range internal jsonb jsonpath language_handler line lseg macaddr macaddr8 money name
    nummultirange numrange oid oidvector path pg_brin_bloom_summary pg_brin_minmax_multi_summary pg_ddl_command
    pg_dependencies pg_lsn pg_mcv_list pg_ndistinct pg_node_tree pg_snapshot point polygon record refcursor regclass
    regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype
    table_am_handler text tid trigger tsm_handler tsmultirange tsquery tsrange tstzmultirange tstzrange tsvector
    txid_snapshot unknown uuid void xid xid8 xml
    """.split()  # noqa: SIM905  # a list has a line for each
)
_ARRAY = r"(?is)(?P<element>.*?)(?P<array>(?:\s*\[[0-9\s]*\])+|\s+array(?:\s*\[[0-9\s]*\])?)?\s*"
_INTERVAL = r"interval( (year|month|day|hour|minute|second)( to (month|hour|minute|second))?)?"
_MODE = r"(?i)(?:in|inout|variadic)\s+(?=\S)"
_SHORT_FLOAT = r"(?i)\bfloat\s*\(\s*0*(?:[1-9]|1[0-9]|2[0-4])\s*\)"
_MODIFIER = r"\(\s*-?[0-9]+\s*(?:,\s*-?[0-9]+\s*)?\)"
_ARGUMENT = r'(?:"(?:[^"]|"")*"|\([^()"]*\)|[^,"()])+'


def signature(text: str, major: int) -> str:
    """Return the types between the parentheses behind the name of a routine, as the server writes them.

    >>> signature("(int, varchar(20)[])", 17)
    '(integer, character varying[])'

    Raises:
        NotANameError: they are not written that way.
    """
    example = "for example `shop.refund(integer, text)`, or `shop.refund()` where it takes none"
    if not text:
        raise NotANameError("the types of its arguments are missing", example)
    inner = text[1:-1].strip()
    types = re.findall(_ARGUMENT, inner)
    if not (text.startswith("(") and text.endswith(")")) or ",".join(types) != inner:
        raise NotANameError("its arguments are not a list of types in parentheses", example)
    return "({})".format(", ".join([argument_type(each, major) for each in types]))


def argument_type(text: str, major: int) -> str:
    """Return a type as the server writes it in the signature of a routine.

    >>> argument_type("timestamptz", 17), argument_type('shop."Mood"[]', 17)
    ('timestamp with time zone', 'shop."Mood"[]')

    Raises:
        NotANameError: it is not the name of a type.
    """
    written = text.strip()
    match = re.fullmatch(_ARRAY, re.sub(_MODE, "", written, count=1) if re.match(_MODE, written) else written)
    element = str(match["element"]) if match else ""
    array = "[]" if match and match["array"] else ""
    bare = element if '"' in element else re.sub(_MODIFIER, " ", re.sub(_SHORT_FLOAT, "real", element))
    folded = " ".join(bare.lower().split())
    if re.fullmatch(_INTERVAL, folded):
        folded = "interval"
    if folded in _ALIASES or folded in _WORDS:
        return _ALIASES.get(folded, folded) + array
    return _named_type(bare.strip(), written, major) + array


def _named_type(bare: str, written: str, major: int) -> str:
    example = "write the types only, for example `(integer, text)`"
    try:
        parts, rest = parse(bare)
    except NotANameError as error:
        raise NotANameError(f"`{written}` is not a type: {error}", error.advice) from None
    if rest or len(parts) > 2:  # noqa: PLR2004  # a schema and a name
        raise NotANameError(f"`{written}` is not a type", example)
    schema, name = parts if len(parts) > 1 else ("pg_catalog", parts[0])
    if schema != "pg_catalog":
        return qualified(schema, name, major)
    if name in _BUILT_IN:
        return name
    if name in _QUOTED:
        return f'"{name}"'
    if name in _ALIASES or name in _WORDS:
        return _ALIASES.get(name, name)
    if major > _KNOWN_UP_TO:
        return quote(name, major)
    advice = f"write it with its schema, for example `public.{bare}`"
    raise NotANameError(f"`{written}` is not a type of PostgreSQL itself", advice)
