"""Tables as text for programs that draw by themselves (Mermaid, Graphviz), and as the part of a document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from provision.insight.tables import Reference, Table
from provision.report.words import clean, fields, head
from provision.spec.model import Spec


def tables(spec: Spec, database: str, found: Sequence[Table]) -> dict[str, Any]:
    """Return the document of ``provision erd``."""
    return {**head("tables", spec), "database": database, "tables": document(found)}


def document(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return the part of a document that holds tables."""
    return [
        {
            **fields(each, "schema name rows size partitions comment"),
            "columns": [{**fields(c, "name type not_null"), "primary_key": c.is_key} for c in each.columns],
            "references": [
                {
                    **fields(key, "name columns"),
                    "table": {"schema": key.to[0], "name": key.to[1]},
                    "to": list(key.others),
                    "unique": key.is_unique,
                }
                for key in each.references
            ],
        }
        for each in tables
    ]


def mermaid(tables: Sequence[Table]) -> Iterator[str]:
    """Yield the lines of Mermaid's entity relationship diagram.

    https://mermaid.js.org/syntax/entityRelationshipDiagram.html ; it allows few characters in types and names of
    columns, and most in a quoted name of a table.
    """
    yield "erDiagram"
    for table in tables:
        referring = {column for each in table.references for column in each.columns}
        yield f"  {_quoted(table.title)} {{"
        for each in table.columns:
            marks = ", ".join([*(["PK"] if each.is_key else []), *(["FK"] if each.name in referring else [])])
            yield f"    {_word(each.type)} {_word(each.name)} {marks}".rstrip()
        yield "  }"
    for table, key, there in _references(tables):
        needed = {column.name for column in table.columns if column.not_null}
        one = "||" if set(key.columns) <= needed else "|o"
        many = "o|" if key.is_unique else "o{"
        yield f"  {_quoted(there.title)} {one}--{many} {_quoted(table.title)} : {_quoted(', '.join(key.columns))}"


def _references(tables: Sequence[Table]) -> Iterator[tuple[Table, Reference, Table]]:
    known = {each.key: each for each in tables}
    for table in tables:
        for each in table.references:
            if each.to in known:
                yield table, each, known[each.to]


def _quoted(text: str) -> str:
    r"""Return a name in quotes, without what Mermaid does not allow there.

    >>> _quoted('a "b" 100%')
    '"a _b_ 100_"'
    """
    return '"{}"'.format(re.sub(r'["%\\]', "_", clean(text)) or "_")


def _word(text: str) -> str:
    """Return a text as one word of Mermaid: it begins with a letter.

    >>> _word("character varying(200)"), _word("2nd name")
    ('character_varying(200)', 'c2nd_name')
    """
    word = re.sub(r"[^\w()\[\]-]", "_", text, flags=re.ASCII)
    return word if re.match(r"[A-Za-z]", word) else f"c{word}"


def dot(tables: Sequence[Table]) -> Iterator[str]:
    """Yield the lines of a graph for Graphviz (``dot -Tsvg``): records, with a port for each column.

    https://graphviz.org/doc/info/shapes.html#record
    """
    yield "digraph tables {"
    yield '  graph [rankdir=RL]; node [shape=record, fontname="sans-serif", fontsize=10]; edge [arrowhead=teetee, '
    yield "    arrowtail=crow, dir=both];"
    number = {each.key: f"t{at}" for at, each in enumerate(tables)}
    ports = {each.key: {column.name: f"c{at}" for at, column in enumerate(each.columns)} for each in tables}
    for each in tables:
        fields = "".join(
            f"|<c{at}> {_record(column.name)}{' *' if column.is_key else ''}: {_record(column.type)}\\l"
            for at, column in enumerate(each.columns)
        )
        yield f'  {number[each.key]} [label="{_record(each.title)}{fields}"];'
    for table, key, there in _references(tables):
        own, other = ports[table.key][key.columns[0]], ports[there.key][key.others[0]]
        yield f"  {number[table.key]}:{own} -> {number[there.key]}:{other};"
    yield "}"


def _record(text: str) -> str:
    r"""Return a text within the label of a record.

    >>> print(_record('a|b "c"'))
    a\|b \"c\"
    """
    return re.sub(r'([\\{}|<>" ])', lambda found: found[0] if found[0] == " " else f"\\{found[0]}", clean(text))
