"""Roles, memberships and their settings: from what the catalogs say and what is declared to the statements, as data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provision.errors import RefusedError
from provision.kinds import (
    Ground,
    Inputs,
    Look,
    Scene,
    catalog,
    membership,
    preflight,
    role,
    role_setting,
    stored_settings,
    table,
)
from provision.kinds.role_password import MARK
from provision.kinds.scram import verifier
from provision.model import UNREAD, Plan, Secret, Stage, Wishes
from provision.model.effects import MovePath, RunInTransaction, WriteFile
from provision.spec.load import read

if TYPE_CHECKING:
    from provision.spec.model import Spec

HERE = Path("/nowhere/spec.yml")
PASSWORD = Secret("pä ss")
VERIFIER = verifier(PASSWORD, b"salt", 4096)
OWN = {"password": "pä ss"}
LOGIN = {"login": True, "verifier": VERIFIER}


def spec(roles: dict[str, Any], major: int = 17) -> Spec:
    server = {"image": f"postgres:{major}", "runtime": "embedded", "database": "shop"}
    document = {"version": 1, "name": "shop", "server": server, "roles": roles}
    return read(HERE, yaml.safe_dump(document).encode(), {})


def there(name: str, **more: Any) -> tuple[str, catalog.Role]:
    usual = dict.fromkeys(("superuser", "createrole", "createdb", "login", "replication", "bypassrls"), False)
    usual |= {"oid": 16384, "inherit": True, "connection_limit": -1}
    return name, catalog.Role(**{**usual, "valid_until": None, "comment": None, "verifier": None, **more})


def cluster(
    *roles: tuple[str, catalog.Role],
    memberships: tuple[catalog.Membership, ...] = (),
    settings: dict[tuple[str | None, str | None], dict[str, str]] | None = None,
    major: int = 17,
) -> catalog.Cluster:
    everybody = dict([there("postgres", oid=10, superuser=True), *roles])
    databases: Any = {"shop": None}
    return catalog.Cluster(everybody, memberships, settings or {}, databases, {}, {}, "postgres", True, major)


def plan(declared: Spec, found: catalog.Cluster, *files: str, starting: bool = False) -> Plan:
    """Return the plan of the three kinds; ``files`` are the roles whose generated passwords are kept."""
    passwords = dict.fromkeys(declared.roles, PASSWORD)
    inputs = Inputs("embedded", {}, 5432, UNREAD, passwords=passwords)
    kept = {declared.role_password_file(each) for each in files}
    wanted = {}
    for kind in (role, membership, role_setting):
        wanted |= kind.wanted(declared, inputs, {})
    look = Look(declared, inputs, wanted, "", lambda path: "kept" if path in kept else None, lambda _: 0o600)
    look._answers[catalog.cluster, ()] = found
    ground = Ground((), (), lambda *_: None, starting)  # type: ignore[arg-type, return-value]
    scene = Scene(declared, inputs, ground, Wishes())
    plans = []
    for kind in (role, membership, role_setting):
        seen = kind.seen(look)
        plans += [
            kind.steps(address, seen.get(address), wanted.get(address), scene)
            for address in dict.fromkeys((*wanted, *seen))
            if address.kind == kind.KIND
        ]
    return Plan.joined(plans)


def statements(found: Plan) -> list[str]:
    """Return what a plan does: statements with their stage, files by their names."""
    lines = []
    for step in found.steps:
        sign = {Stage.REVOKE: "- ", Stage.CHANGE: "", Stage.DROP: "drop: "}[step.stage]
        for effect in step.effects:
            if isinstance(effect, RunInTransaction):
                lines += [sign + each for each in effect.statements]
                assert effect.shared
                assert effect.database == "postgres"
            if isinstance(effect, WriteFile):
                assert (effect.mode, effect.content) == (0o600, PASSWORD)
                lines.append(f"{sign}write {effect.path.name}")
            if isinstance(effect, MovePath):
                lines.append(f"{sign}move {effect.source.name} {effect.path.name}")
    return lines


EVERYTHING = 'CREATE ROLE "app" SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS NOINHERIT CONNECTION LIMIT 0'
EVERYTHING += " VALID UNTIL '2030-01-01T00:00:00Z'"
SET = "ALTER ROLE \"app\" PASSWORD '@verifier@'"
MARKED = "ALTER ROLE \"app\" SET provision.password TO 'generated'"
MADE = {
    "a group": ({}, ['CREATE ROLE "app"']),
    "a login": ({"login": True}, ["write app", "CREATE ROLE \"app\" LOGIN PASSWORD '@verifier@'", MARKED]),
    "a written password": (OWN, ["CREATE ROLE \"app\" LOGIN PASSWORD '@verifier@'"]),
    "no password": ({"login": True, "password": "none"}, ['CREATE ROLE "app" LOGIN PASSWORD NULL']),
    "everything": (
        {**dict.fromkeys(("superuser", "createdb", "createrole", "replication", "bypassrls"), True),
         "inherit": False, "connection_limit": 0, "valid_until": "2030-01-01T01:00:00+01:00", "comment": "it's"},
        [EVERYTHING, "COMMENT ON ROLE \"app\" IS 'it''s'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_a_role_is_made_with_what_differs_from_the_default(name: str) -> None:
    declared, expected = MADE[name]
    assert statements(plan(spec({"app": declared}), cluster())) == expected


CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "nothing": (OWN, LOGIN, []),
    "more and less": (
        {"createdb": True},
        {"superuser": True, "login": True},
        ['- ALTER ROLE "app" NOLOGIN NOSUPERUSER', 'ALTER ROLE "app" CREATEDB'],
    ),
    "a lower limit": ({"connection_limit": 3}, {"connection_limit": 4}, ['- ALTER ROLE "app" CONNECTION LIMIT 3']),
    "a limit": ({"connection_limit": 3}, {}, ['- ALTER ROLE "app" CONNECTION LIMIT 3']),
    "a higher limit": ({"connection_limit": 5}, {"connection_limit": 4}, ['ALTER ROLE "app" CONNECTION LIMIT 5']),
    "no limit": ({}, {"connection_limit": 0}, ['ALTER ROLE "app" CONNECTION LIMIT -1']),
    "an end": (
        {"valid_until": "2030-01-01T00:00:00Z"},
        {},
        ["- ALTER ROLE \"app\" VALID UNTIL '2030-01-01T00:00:00Z'"],
    ),
    "the same end": ({"valid_until": "2030-01-01T00:00:00Z"}, {"valid_until": "2030-01-01T00:00:00.000000Z"}, []),
    "a later end": (
        {"valid_until": "2030-01-01T00:00:00Z"},
        {"valid_until": "2029-01-01T00:00:00.000000Z"},
        ["ALTER ROLE \"app\" VALID UNTIL '2030-01-01T00:00:00Z'"],
    ),
    "no end": ({}, {"valid_until": "-infinity"}, ["ALTER ROLE \"app\" VALID UNTIL 'infinity'"]),
    "no comment": ({"comment": "none"}, {"comment": "x"}, ["COMMENT ON ROLE \"app\" IS ''"]),
    "its own comment": ({}, {"comment": "x"}, []),
    "its own password": ({"login": True}, LOGIN, []),
    "another password": (OWN, {**LOGIN, "verifier": verifier(Secret("x"), b"s")}, [SET]),
    "md5": (OWN, {**LOGIN, "verifier": "md5abc"}, [SET]),
    "10,000 iterations": (OWN, {**LOGIN, "verifier": verifier(PASSWORD, b"other salt", 10_000)}, []),
    "too many iterations": (OWN, {**LOGIN, "verifier": VERIFIER.replace("4096", "2147483647")}, [SET]),
    "a password that is taken away": ({"login": True, "password": "none"}, LOGIN, ['- ALTER ROLE "app" PASSWORD NULL']),
    "a generated one where another was": (
        {"login": True, "password": {"generate": True}},
        LOGIN,
        ["write app", SET, MARKED],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_what_a_role_loses_comes_first(name: str) -> None:
    declared, found, expected = CHANGED[name]
    assert statements(plan(spec({"app": declared}), cluster(there("app", **found)))) == expected


def test_a_generated_password_is_made_again_only_where_its_file_is_gone() -> None:
    found = cluster(there("app", **LOGIN), settings={(None, "app"): {MARK: "generated"}})
    declared = spec({"app": {"login": True}})
    assert statements(plan(declared, found, "app")) == []
    assert statements(plan(declared, found)) == ["write app", SET]
    (step,) = plan(declared, found).steps
    assert [str(each) for each in step.why] == ["password: not known here → as declared"]
    written = plan(spec({"app": {"password": "another"}}), found, "app")
    assert statements(written) == [], "the passwords of this test are all the same"
    taken = statements(plan(spec({"app": {"login": True, "password": "none"}}), found, "app"))
    assert taken == ['- ALTER ROLE "app" PASSWORD NULL', '- ALTER ROLE "app" RESET provision.password']


def test_groups_are_made_before_their_members() -> None:
    roles = {"a": {"member_of": ["b", "d"]}, "b": {"member_of": ["c"]}, "c": {}, "d": {}}
    made = [each for each in statements(plan(spec(roles), cluster())) if each.startswith("CREATE")]
    assert made == [f'CREATE ROLE "{each}"' for each in "cbda"]


def test_a_role_is_renamed_before_anything_else_and_then_looked_at_again() -> None:
    declared = spec({"new": {"login": True, "renamed_from": "old", "member_of": ["group"]}, "group": {}})
    found = cluster(
        there("old", **LOGIN, superuser=True),
        there("group"),
        memberships=(catalog.Membership("group", "old", "postgres", False, True, False),),
        settings={(None, "old"): {MARK: "generated"}},
    )
    planned = plan(declared, found)
    expected = ["- move old new", '- ALTER ROLE "old" RENAME TO "new"', '- ALTER ROLE "new" NOSUPERUSER']
    assert statements(planned) == expected
    assert planned.steps[0].reveals
    with pytest.raises(RefusedError, match="'old' cannot be renamed to 'new', because both exist"):
        plan(declared, cluster(there("old"), there("new")))
    made = statements(plan(declared, cluster(there("group"))))
    assert made[1] == "CREATE ROLE \"new\" LOGIN PASSWORD '@verifier@'"


def test_what_is_made_elsewhere_is_only_looked_for() -> None:
    declared = spec({"app": {"external": True}})
    assert plan(declared, cluster(there("app", superuser=True))) == Plan()
    assert plan(declared, cluster(), starting=True) == Plan(), "a script of server.initdb may make it"
    with pytest.raises(RefusedError, match="made elsewhere"):
        plan(declared, cluster())


def test_the_role_that_we_log_in_as_is_left_alone() -> None:
    declared = spec({"app": {}})
    declared = replace(declared, server=replace(declared.server, user="app"))
    assert plan(declared, cluster(there("app"))) == Plan()
    with pytest.raises(RefusedError, match="provision logs in as 'app'"):
        plan(declared, cluster(there("app", superuser=True)))


# --- memberships ---

ROWS = {"admin": (True, False, False), "usual": (False, True, False), "all": (True, True, True)}


def row(options: tuple[bool, bool, bool], grantor: str = "postgres", member: str = "m") -> catalog.Membership:
    return catalog.Membership("g", member, grantor, *options)


GRANT = 'GRANT "g" TO "m" WITH ADMIN FALSE, INHERIT TRUE, SET FALSE'
MEMBERSHIPS: dict[str, tuple[Any, list[catalog.Membership], list[str]]] = {
    "missing": ("g", [], [GRANT]),
    "there": ("g", [row(ROWS["usual"])], []),
    "two that are one": ({"role": "g", "admin": True}, [row(ROWS["usual"]), row(ROWS["admin"], "o")], []),
    "made by the server": ("g", [row(ROWS["usual"], "o"), row(ROWS["admin"])], []),
    "less": (
        "g",
        [row(ROWS["usual"]), row(ROWS["all"], "o")],
        [
            '- REVOKE ADMIN OPTION FOR "g" FROM "m" GRANTED BY "o"',
            '- REVOKE SET OPTION FOR "g" FROM "m" GRANTED BY "o"',
        ],
    ),
    "more and less": (
        {"role": "g", "admin": True, "inherit": False},
        [row(ROWS["usual"])],
        [
            '- REVOKE INHERIT OPTION FOR "g" FROM "m" GRANTED BY "postgres"',
            'GRANT "g" TO "m" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE',
        ],
    ),
    "whom it has admitted": (
        "g",
        [row(ROWS["all"]), row(ROWS["usual"], "m", "z"), row(ROWS["usual"], "z", "y")],
        [
            '- REVOKE ADMIN OPTION FOR "g" FROM "m" GRANTED BY "postgres" CASCADE',
            '- REVOKE SET OPTION FOR "g" FROM "m" GRANTED BY "postgres" CASCADE',
        ],
    ),
    "absent": (
        {"role": "g", "state": "absent"},
        [row(ROWS["usual"]), row(ROWS["usual"], "o")],
        ['- REVOKE "g" FROM "m" GRANTED BY "postgres"', '- REVOKE "g" FROM "m" GRANTED BY "o"'],
    ),
    "absent already": ({"role": "g", "state": "absent"}, [], []),
    "not named": (None, [row(ROWS["all"])], []),
}


@pytest.mark.parametrize("name", MEMBERSHIPS)
def test_a_pair_that_is_named_is_exact(name: str) -> None:
    declared, rows, expected = MEMBERSHIPS[name]
    roles = {"g": {}, "m": {"createrole": True, **({"member_of": [declared]} if declared else {})}}
    found = cluster(there("g"), there("m", createrole=True), there("o"), memberships=tuple(rows))
    planned = plan(spec(roles), found)
    assert statements(planned) == expected
    if name == "whom it has admitted":
        assert planned.steps[0].consequence == "m loses in g: admin, set; whom it has admitted leaves too: z, y"


def test_before_16_a_membership_has_admin_only() -> None:
    roles = {"g": {}, "m": {"member_of": [{"role": "g", "admin": True}]}}
    found = cluster(there("g"), there("m"), major=14)
    assert statements(plan(spec(roles, 14), found)) == ['GRANT "g" TO "m" WITH ADMIN OPTION']
    rows = (catalog.Membership("g", "m", "postgres", True, None, None),)
    found = cluster(there("g"), there("m"), memberships=rows, major=14)
    assert statements(plan(spec(roles, 14), found)) == []
    plain = spec({"g": {}, "m": {"member_of": ["g"]}}, 14)
    assert statements(plan(plain, found)) == ['- REVOKE ADMIN OPTION FOR "g" FROM "m"']


# --- settings ---


def test_only_the_settings_that_are_written_are_managed() -> None:
    values = {"work_mem": "8MB", "search_path": ["a", "B, c"], "jit": "default", "timezone": "utc"}
    declared = spec({"app": {"settings": values, "settings_in": {"shop": {"statement_timeout": "5min"}}}})
    stored = {"work_mem": "8192", "search_path": 'a,  "B, c"', "enable_sort": "off", "TimeZone": "UTC"}
    found = cluster(there("app"), settings={(None, "app"): stored})
    assert statements(plan(declared, found)) == [
        'ALTER ROLE "app" IN DATABASE "shop" SET "statement_timeout" TO \'5min\''
    ]
    stored = {"work_mem": "4MB", "search_path": '"a, B"', "jit": "off", MARK: "generated", "TimeZone": "UTC"}
    found = cluster(there("app"), settings={(None, "app"): stored, ("shop", "app"): {"statement_timeout": "300s"}})
    assert sorted(statements(plan(declared, found))) == [
        'ALTER ROLE "app" RESET "jit"',
        "ALTER ROLE \"app\" SET \"search_path\" TO 'a', 'B, c'",
        'ALTER ROLE "app" SET "work_mem" TO \'8MB\'',
    ]


@pytest.mark.parametrize(("name", "raw"), [("createrole_self_grant", ""), ("search_path", '""')])
def test_an_empty_list_is_stored_in_two_ways(name: str, raw: str) -> None:
    values = {name: ("",)}
    assert stored_settings.stored(17, values, {name: raw}) == stored_settings.declared(values)
    assert stored_settings.stored(17, values, {name: "set"}) == {name: "set"}


def test_the_runtime_that_was_chosen_says_whether_rights_may_lack() -> None:
    declared = spec({"app": {"login": True}})
    assert preflight in table.inside(declared, "external")
    assert preflight not in table.inside(declared, "embedded")
