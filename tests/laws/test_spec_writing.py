"""Roles and databases that are written into a spec are the same when they are read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, strategies as st
from support.law import law

from provision.spec import load, writing
from provision.spec.access import NEVER, NO_LIMIT, Database, Extension, Grant, Member, Role, Schema, Target

TOP = "name: shop\nserver: {image: postgres:17, database: main}\n"
ROLES = ("app", "Odd one", "PUBLIC", "yes", "12", 'q"d', "it's", "select", "ä", "a.b", "~", "none of it", "$x")
VALUES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
TEXTS = (
    st.sampled_from(["a", "", " ", "no", "1", "${HOME}", "$$", "$", "two\nlines\t", "'", '"', "a: b", "# c", "-"])
    | VALUES
)
SETTINGS: dict[str, Any] = {
    "work_mem": st.sampled_from([("8MB",), ("8192",)]),
    "search_path": st.lists(st.sampled_from(["$user", "a, b", "shop", "default", "1"]), max_size=3).map(
        lambda each: tuple(each) or ("",)
    ),
    "app.note": TEXTS.filter(lambda each: each != "default").map(lambda each: (each,)),
}
settings = st.fixed_dictionaries({}, optional={name: st.none() | each for name, each in SETTINGS.items()})


@st.composite
def roles(draw: Any) -> dict[str, Role]:
    names = draw(st.lists(st.sampled_from(ROLES), unique=True, min_size=2, max_size=5))
    found = {}
    for at, name in enumerate(names):
        groups = draw(st.lists(st.sampled_from(names[:at]), unique=True)) if at else []
        member_of = tuple(
            [Member(each, draw(st.booleans()), draw(st.booleans()), draw(st.booleans())) for each in groups]
        )
        found[name] = draw(
            st.builds(
                Role,
                st.just(name),
                login=st.booleans(),
                superuser=st.booleans(),
                inherit=st.booleans(),
                connection_limit=st.sampled_from([NO_LIMIT, 0, 7]),
                valid_until=st.sampled_from([NEVER, "2027-01-01T00:00:00Z", "2027-01-01T00:00:00.000001Z"]),
                comment=st.none() | TEXTS.filter(lambda each: each != "none"),
                settings=settings,
                settings_in=st.dictionaries(st.sampled_from(["main", "Other db"]), settings, max_size=2),
                member_of=st.just(member_of),
            )
        )
    return found


@st.composite
def databases(draw: Any, names: list[str]) -> dict[str, Database]:
    name, grantee = st.sampled_from(names), st.none() | st.sampled_from(names)
    schema = st.builds(
        Schema,
        st.just(""),
        owner=st.none() | name,
        access=st.dictionaries(name, st.sampled_from(["none", "usage", "read", "write", "maintain"]), max_size=3),
        public=st.sampled_from([None, "none", "usage", "create"]),
        defaults_for=st.none() | st.lists(name, unique=True, max_size=2).map(tuple),
        comment=st.none() | TEXTS.filter(lambda each: each != "none"),
    )
    schemas = draw(st.dictionaries(st.sampled_from(["shop", "Odd one", "user"]), schema, max_size=3))
    targets = st.sampled_from(
        [
            (Target("table", 'other."T two"', None, ()), ("SELECT", "INSERT")),
            (Target("table", "other.t", None, ("id", '"User"')), ("SELECT",)),
            (Target("table", "", "Other one"), ("ALL",)),
            (Target("routine", "other.f(integer, text[])"), ()),
            (Target("schema", '"New one"'), ("USAGE",)),
            (Target("language", "plpgsql"), ("USAGE",)),
            (Target("large_object", "4711"), ("SELECT",)),
            (Target("parameter", "log_min_duration_statement"), ("SET", "ALTER SYSTEM")),
        ]
    )
    grants = {
        (to, on): Grant(to, on, privileges, grantable=option and to is not None and bool(privileges))
        for to, (on, privileges), option in draw(st.lists(st.tuples(grantee, targets, st.booleans()), max_size=4))
    }
    made = Database(
        "Other db",
        owner=draw(st.none() | name),
        connection_limit=draw(st.sampled_from([None, NO_LIMIT, 3])),
        allow_connections=draw(st.sampled_from([None, True])),
        comment=draw(st.none() | TEXTS.filter(lambda each: each != "none")),
        connect=draw(st.none() | st.lists(grantee, unique=True, max_size=2).map(tuple)),
        settings=draw(settings),
        schemas={each: Schema(**{**_fields(schemas[each]), "name": each}) for each in schemas},
        extensions=(Extension("citext", schema="public"), Extension("uuid-ossp", version="1.1")),
        grants=tuple(grants.values()),
    )
    return {"main": Database("main"), "Other db": made}


def _fields(schema: Schema) -> dict[str, Any]:
    return {name: getattr(schema, name) for name in ("owner", "access", "public", "defaults_for", "comment")}


@law(60)
@given(st.data())
def test_what_is_written_is_read_as_the_same(data: st.DataObject) -> None:
    written = data.draw(roles())
    placed = data.draw(databases(list(written)))
    text = TOP + "\n".join(writing.lines(written, placed)) + "\n"
    spec = load.read(Path("/x/spec.yml"), text.encode(), {})
    assert spec.roles == written
    assert spec.databases == placed
