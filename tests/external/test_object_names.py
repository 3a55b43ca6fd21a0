"""Names, types and settings mean to us what they mean to PostgreSQL, on each major version."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st
from support.law import law

from provision.errors import SpecError
from provision.model.sql import literal
from provision.spec.load import read
from provision.spec.object_names import NotANameError, argument_type, parse, qualified, quote, signature, split
from provision.spec.parameters import catalogue
from provision.spec.setting_values import is_list, list_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from support.foreign import Foreign

MAJORS = [14, 16, 17, 18]
NAMES = st.text(
    st.sampled_from("aA_z09$. \"'\\-äß(),[]*é😀") | st.characters(exclude_categories=["Cs", "Cc"]),
    min_size=1,
    max_size=15,
)
TYPES = """
    int; INTEGER; int2; smallint; int4; int8; bigint; float; float(1); float(24); Float ( 25 ); float4; float8; real;
    double precision; Double  Precision; dec; decimal(4, 2); numeric; numeric(10); numeric( 1,0 ); bool; boolean; char;
    char(3); character; character (4); nchar; national char(2); national character; varchar; varchar(20); char varying;
    character varying(7); nchar varying; national char varying; national character varying (3); bpchar; "char"; bit;
    bit(3); bit varying; bit varying(4); varbit; time; time(3); timetz; time with time zone; time(2) with time zone;
    time without time zone; timestamp; timestamp(3); timestamptz; timestamp with time zone; timestamp(1) with time zone;
    timestamp without time zone; interval; interval(3); interval year; interval day to second; interval hour to minute;
    json; "json"; jsonb; text; uuid; xml; name; oid; date; money; inet; pg_catalog.int4; pg_catalog."char"; "varchar";
    pg_catalog.timestamptz; "q a"."Mood"; "q a".mood; pg_catalog.json; "timestamptz"; anyelement; internal; "any"
"""
ARRAYS = ["", "[]", "[3]", " [ ] [2]", " array", " ARRAY[4]"]
NO_ARRAYS = ("anyelement", "internal", '"any"')


def ask(server: Foreign, select: str, texts: Iterable[str]) -> list[str]:
    """Return what an expression of ``x`` is for each text, in an empty search path."""
    values = ", ".join(f"({number}, {literal(text)})" for number, text in enumerate(texts))
    statement = f"SELECT {select} FROM (VALUES {values}) AS v (n, x) ORDER BY n"  # noqa: S608
    rows = server.execute("SET search_path = pg_catalog", statement)
    return [str(row[0]) for row in rows]


@pytest.mark.parametrize("major", MAJORS)
def test_keywords_are_quoted_as_the_server_quotes_them(servers: Callable[[int], Foreign], major: int) -> None:
    words = [word for (word,) in servers(major).execute("SELECT word FROM pg_get_keywords()")]
    assert [quote(word, major) for word in words] == ask(servers(major), "quote_ident(x)", words)


@pytest.mark.parametrize("major", MAJORS)
@law(5)
@given(names=st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=30))
def test_a_name_is_quoted_and_read_as_the_server_does_both(
    servers: Callable[[int], Foreign], major: int, names: list[tuple[str, str]]
) -> None:
    written = [qualified(schema, name, major) for schema, name in names]
    quoted = ask(servers(major), "quote_ident(x)", [each for pair in names for each in pair])
    assert written == [f"{schema}.{name}" for schema, name in zip(quoted[::2], quoted[1::2], strict=True)]
    assert [parse(each).parts for each in written] == names
    assert [split(each) for each in written] == [(pair[0], quote(pair[1], major)) for pair in names]
    parsed = ask(servers(major), "array_to_string(parse_ident(x), chr(1))", written)
    assert [tuple(each.split("\1")) for each in parsed] == names


@pytest.mark.parametrize("major", MAJORS)
@law(10)
@given(texts=st.lists(st.text('ab_9$."é -', min_size=1, max_size=12), min_size=1, max_size=60))
def test_what_is_read_as_a_name_is_that_name_to_the_server(
    servers: Callable[[int], Foreign], major: int, texts: list[str]
) -> None:
    found = {text: parts for text in texts for parts in names_in(text)}
    parsed = ask(servers(major), "array_to_string(parse_ident(x), chr(1))", found) if found else []
    assert [tuple(each.split("\1")) for each in parsed] == list(found.values())


def names_in(text: str) -> list[tuple[str, ...]]:
    try:
        parsed = parse(text)
    except NotANameError:
        return []
    return [] if parsed.rest else [parsed.parts]


@pytest.mark.parametrize("major", MAJORS)
def test_a_type_is_written_as_the_server_writes_it(servers: Callable[[int], Foreign], major: int) -> None:
    server = servers(major)
    server.execute(
        'CREATE SCHEMA "q a"', """CREATE TYPE "q a"."Mood" AS ENUM ('a')""", 'CREATE DOMAIN "q a".mood AS int'
    )
    try:
        bases = [" ".join(each.split()) for each in TYPES.split(";")]
        texts = [base + array for base, array in product(bases, ARRAYS) if not (array and base in NO_ARRAYS)]
        catalogued = server.execute(
            "SELECT quote_ident(typname) FROM pg_type AS t WHERE typnamespace = 'pg_catalog'::regnamespace"
            " AND typtype IN ('b', 'p', 'r', 'm') AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.typarray = t.oid)"
        )
        texts += [name for (name,) in catalogued]
        assert [argument_type(each, major) for each in texts] == ask(server, "x::regtype::text", texts)
    finally:
        server.execute('DROP SCHEMA "q a" CASCADE')


@pytest.mark.parametrize("major", MAJORS)
def test_a_signature_is_written_as_in_the_catalog(servers: Callable[[int], Foreign], major: int) -> None:
    arguments = '(INT, "q b"."a,b(""c"")"[], VARIADIC varchar(20)[])'
    server = servers(major)
    try:
        server.execute(
            'CREATE SCHEMA "q b"',
            """CREATE TYPE "q b"."a,b(""c"")" AS ENUM ('a')""",
            f'CREATE FUNCTION "q b".f{arguments} RETURNS int LANGUAGE sql RETURN 1',
        )
        found = ask(server, "(SELECT oidvectortypes(proargtypes) FROM pg_proc WHERE proname = x)", ["f"])
        assert signature(arguments, major) == f"({found[0]})"
    finally:
        server.execute('DROP SCHEMA "q b" CASCADE')


@pytest.mark.parametrize("major", MAJORS)
def test_a_role_may_have_the_settings_that_the_server_takes(servers: Callable[[int], Foreign], major: int) -> None:
    server = servers(major)
    values = dict(server.execute("SELECT name, setting FROM pg_settings"))
    role = server.role()
    rows = server.execute("CREATE TEMP TABLE taken (name text)", TRY.format(role=role), "SELECT name FROM taken")
    server.execute(f"DROP ROLE {role}")
    for name in values.keys() & catalogue(major).keys() - NEVER:
        empty = "auto_explain" if name.endswith("_preload_libraries") else ""  # of these, none would end every session
        written = json.dumps((list_items(values[name]) or [empty]) if is_list(name) else values[name])
        text = f"name: shop\nserver: {{image: 'postgres:{major}'}}\nroles: {{app: {{settings: {{{name}: {written}}}}}}}"
        assert is_right(text) == ((name,) in rows), name


def is_right(text: str) -> bool:
    try:
        read(Path("/shop.yml"), text.encode(), {})
    except SpecError:
        return False
    return True


NEVER = {"transaction_deferrable", "transaction_isolation", "transaction_read_only"}
"""What a transaction is begun with: a session has another name for it."""
TRY = """DO $$
DECLARE
    tried record;
BEGIN
    FOR tried IN SELECT name, setting FROM pg_settings LOOP
        BEGIN
            EXECUTE format('ALTER ROLE {role} SET %I = %L', tried.name, tried.setting);
            INSERT INTO taken VALUES (tried.name);
        EXCEPTION WHEN cant_change_runtime_param OR active_sql_transaction THEN
            NULL;
        END;
    END LOOP;
END
$$"""
