"""Roles, databases and grants that are right are read as they are written, whatever their names are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, strategies as st
from support.law import law

from provision.errors import SpecError
from provision.spec.access import NO_LIMIT, Database, Extension, Grant, Member, NoPassword, Role, Schema, Target
from provision.spec.grants import OF_COLUMNS, ON, PRIVILEGES
from provision.spec.load import read
from provision.spec.object_names import qualified, quote
from provision.spec.passwords import PasswordMissing

if TYPE_CHECKING:
    from provision.spec.model import Spec

MAJOR = 17
NAMES = (
    st.text(st.sampled_from("aB9 _.\"'$-é{}[],:#*&!|>%@`😀"), min_size=1, max_size=12)
    .filter(lambda name: "$$" not in name and "${" not in name)
    .filter(lambda name: name.casefold() not in ("public", "none", "postgres") and not name.startswith("pg_"))
)
PREDEFINED = st.sampled_from(["pg_monitor", "pg_read_all_data", "postgres"])
FLAGS = ("superuser", "createdb", "createrole", "replication", "bypassrls")
SETTINGS = st.sampled_from(
    [
        ("statement_timeout", "5min", ("5min",)),
        ("Work_Mem", "64MB", ("64MB",)),
        ("jit", "default", None),
        ("search_path", ["$user", "a b"], ("$user", "a b")),
        ("app.tenant", "acme", ("acme",)),
        ("log_statement", "all", ("all",)),
    ]
)
WORDS = st.sampled_from(["none", "usage", "read", "write", "maintain"])


def settings(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    chosen = draw(st.lists(SETTINGS, max_size=3, unique_by=lambda each: each[0]))
    return {name: text for name, text, _ in chosen}, {canonical(name): value for name, _, value in chosen}


def canonical(name: str) -> str:
    return name.lower()


@st.composite
def roles(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Role]]:
    """Return roles as they are written and as they are read; each may belong to those before it."""
    written: dict[str, Any] = {}
    values: dict[str, Role] = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=5, unique=True)):
        if draw(st.integers(0, 5)) == 0:
            written[name], values[name] = {"external": True}, Role(name, is_external=True)
            continue
        keys: dict[str, Any] = {flag: draw(st.booleans()) for flag in FLAGS if draw(st.booleans())}
        fields = dict(keys)
        groups = draw(st.lists(st.sampled_from([*values, "pg_monitor"]), max_size=3, unique=True))
        options = [draw(st.fixed_dictionaries({}, optional=OPTIONS)) for _ in groups]
        keys["member_of"] = [
            {"role": group, **each} if each else group for group, each in zip(groups, options, strict=True)
        ]
        fields["member_of"] = tuple(Member(group, **each) for group, each in zip(groups, options, strict=True))
        if draw(st.booleans()):
            keys["login"] = fields["login"] = True
        if draw(st.booleans()):
            keys["password"], fields["password"] = "none", NoPassword()
        if (limit := draw(st.sampled_from(["none", 0, 7, None]))) is not None:
            keys["connection_limit"], fields["connection_limit"] = limit, NO_LIMIT if limit == "none" else limit
        keys["settings"], fields["settings"] = settings(draw)
        written[name], values[name] = keys, Role(name, **fields)
    return written, values


OPTIONS = {"admin": st.booleans(), "inherit": st.booleans(), "set": st.booleans()}


def target(draw: st.DrawFn) -> tuple[dict[str, Any], Target]:
    word = draw(st.sampled_from([word for word in ON if word not in ("database", "parameter", "schema")]))
    on, schema, name = ON[word], draw(NAMES), draw(NAMES)
    if word == "large_object":
        return {word: 16400}, Target(on.kind, "16400")
    if not on.is_in_schema:
        return {word: name}, Target(on.kind, quote(name, MAJOR))
    if on.is_all:
        return {word: f"{quote(schema, MAJOR)}.*"}, Target(on.kind, "", schema)
    if word == "routine":
        written = f"{qualified(schema, name, MAJOR)}(int, varchar(3)[], {qualified(schema, name, MAJOR)})"
        types = f"(integer, character varying[], {qualified(schema, name, MAJOR)})"
        return {word: written}, Target(on.kind, qualified(schema, name, MAJOR) + types)
    columns = draw(st.lists(NAMES, max_size=2, unique=True)) if word == "table" else []
    keys = {word: qualified(schema, name, MAJOR)} | ({"columns": columns} if columns else {})
    return keys, Target(on.kind, keys[word], columns=tuple(quote(each, MAJOR) for each in columns))


@st.composite
def a_grant(draw: st.DrawFn, names: list[str]) -> tuple[dict[str, Any], Grant]:
    to = draw(st.sampled_from([None, *names]) | PREDEFINED)
    on, value = target(draw)
    possible = OF_COLUMNS if value.columns else PRIVILEGES[value.kind]
    chosen = draw(st.lists(st.sampled_from(possible), max_size=3, unique=True))
    grantable = bool(chosen) and to is not None and draw(st.booleans())
    keys: dict[str, Any] = {"to": "public" if to is None else draw(st.sampled_from([to, {"role": to}])), "on": on}
    keys["privileges"] = [draw(st.sampled_from([each, each.lower()])) for each in chosen] or "none"
    return keys | ({"grantable": True} if grantable else {}), Grant(to, value, tuple(chosen), grantable)


@st.composite
def a_database(draw: st.DrawFn, name: str, names: list[str]) -> tuple[dict[str, Any], Database]:
    """Return a database as it is written and as it is read."""
    some_role = st.sampled_from(names) | PREDEFINED
    keys: dict[str, Any] = {"owner": draw(some_role)}
    fields: dict[str, Any] = {"owner": keys["owner"]}
    for key in ("connect", "temporary"):
        chosen = draw(st.none() | st.lists(st.none() | some_role, max_size=3, unique=True))
        if chosen is not None:
            keys[key] = ["public" if each is None else each for each in chosen]
            fields[key] = tuple(chosen)
    keys["schemas"], fields["schemas"] = {}, {}
    for schema in draw(st.lists(NAMES, max_size=3, unique=True)):
        access = draw(st.dictionaries(some_role, WORDS, max_size=3))
        keys["schemas"][schema] = {"access": access, "public": "none"}
        fields["schemas"][schema] = Schema(schema, access=access, public="none")
    extensions = draw(st.lists(NAMES, max_size=2, unique=True))
    within = draw(st.sampled_from(["public", *keys["schemas"]]))
    keys["extensions"] = [
        each if number else {"name": each, "schema": within} for number, each in enumerate(extensions)
    ]
    fields["extensions"] = tuple(
        Extension(each, schema=None if number else within) for number, each in enumerate(extensions)
    )
    grants = draw(st.lists(a_grant(names), max_size=4, unique_by=lambda each: (each[1].to, each[1].on)))
    keys["grants"], fields["grants"] = [each for each, _ in grants], tuple(each for _, each in grants)
    keys["settings"], fields["settings"] = settings(draw)
    return keys, Database(name, **fields)


@st.composite
def specs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Role], dict[str, Database]]:
    declared, role_values = draw(roles())
    found = {name: draw(a_database(name, list(declared))) for name in draw(st.lists(NAMES, max_size=2, unique=True))}
    assume(not found.keys() & {"template0", "template1"})
    server = {"image": f"postgres:{MAJOR}", "database": "some"}
    written = {"name": "shop", "server": server, "roles": declared, "databases": {n: k for n, (k, _) in found.items()}}
    return written, role_values, {name: value for name, (_, value) in found.items()}


def loaded(written: dict[str, Any]) -> Spec:
    return read(Path("/shop.yml"), json.dumps(written, ensure_ascii=False).encode(), {})  # JSON is YAML


@law(40)
@given(specs())
def test_what_is_right_is_read_as_it_is_written(
    spec: tuple[dict[str, Any], dict[str, Role], dict[str, Database]],
) -> None:
    written, declared, databases = spec
    found = loaded(written)
    assert found.roles == declared
    assert found.databases == databases


@law(20)
@given(specs(), st.data())
def test_each_use_of_a_role_that_is_not_declared_is_a_problem(
    spec: tuple[dict[str, Any], dict[str, Role], dict[str, Database]], data: st.DataObject
) -> None:
    written, declared, databases = spec
    gone = data.draw(st.sampled_from(list(declared)))
    uses = sum(each.group == gone for role in declared.values() if role.name != gone for each in role.member_of)
    for each in databases.values():
        uses += [each.owner, *(each.connect or ()), *(each.temporary or ())].count(gone)
        uses += sum(gone in schema.access for schema in each.schemas.values())
        uses += sum(grant.to == gone for grant in each.grants)
    del written["roles"][gone]
    if not uses:
        loaded(written)
        return
    with pytest.raises(SpecError) as caught:
        loaded(written)
    assert len(caught.value.problems) == uses
    assert all(f"there is no role `{gone}` below `roles`" in each.message for each in caught.value.problems)


LACKING = """
name: shop
server: {image: postgres:17, database: shop}
roles:
  known: {password: "${PW}"}
  file: {password: {file: "${DIR}/password"}}
  unknown: {member_of: ["${GROUP}"]}
  lost: {settings: {work_mem: "${MEMORY}"}}
databases:
  shop: {owner: "${OWNER}", grants: [{to: lost, on: {tables: shop.*}, privileges: all}]}
  other: {owner: unknown}
  third: {migrations: {script_location: "app:migrations", as: "${LOGIN}"}}
"""


def test_what_lacks_a_variable_is_left_out_and_the_rest_is_read() -> None:
    found = read(Path("/shop.yml"), LACKING.encode(), {}, may_lack=True)
    assert [type(role.password) for role in found.roles.values()] == [PasswordMissing, PasswordMissing]
    assert list(found.roles) == ["known", "file"]
    assert list(found.databases) == ["other"]
    assert [problem.line for problem in found.missing] == [5, 6, 7, 8, 10, 12]
    with pytest.raises(SpecError) as caught:
        read(Path("/shop.yml"), LACKING.encode(), {})
    assert [problem.line for problem in caught.value.problems if "is not set" in problem.message] == [
        5,
        6,
        7,
        8,
        10,
        12,
    ]
