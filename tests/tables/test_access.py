"""Privileges without a server: what is declared, against what a look has shown, as statements and in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from provision.errors import RefusedError
from provision.kinds import catalog, privilege
from provision.kinds.catalog import Cluster, Contents, Default, Edge, Objects
from provision.kinds.privileges.access import Access
from provision.kinds.privileges.judgement import judge
from provision.model import Action, Plan
from provision.spec.access import Database, Grant, Role, Schema, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

OWNER, READER, WRITER, OTHER = "owner", "reader", "writer", "other"
OWN = tuple(Edge(OWNER, each, grantable=False, grantor=OWNER) for each in ("SELECT", "INSERT", "UPDATE"))


def edges(*texts: str, own: tuple[Edge, ...] = OWN) -> frozenset[Edge]:
    """Return an ACL: ``reader=SELECT*/other`` is SELECT with the grant option, and not granted by the owner."""
    found = []
    for text in texts:
        grantee, _, rest = text.partition("=")
        privileges, _, grantor = rest.partition("/")
        found += [
            Edge(grantee or None, each.rstrip("*"), each.endswith("*"), grantor or OWNER)
            for each in privileges.split(",")
        ]
    return frozenset((*own, *found))


def objects(kind: str, *names: str, acl: frozenset[Edge] | None = None) -> Objects:
    return Objects("shop", kind, OWNER, False, False, edges() if acl is None else acl, names)


def contents(*found: Objects, usage: str = "", columns: Any = None, defaults: tuple[Default, ...] = ()) -> Contents:
    schema = catalog.Schema(OWNER, False, edges(*([f"{usage}=USAGE"] if usage else []), own=()), None)
    return Contents(
        found, {"shop": schema}, columns or {}, defaults, {}, {("language", "plpgsql"): (OWNER, edges("=USAGE"))}
    )


def a_role(oid: int, *, login: bool = False, superuser: bool = False) -> catalog.Role:
    return catalog.Role(
        oid, superuser, inherit=True, createrole=False, createdb=False, login=login, replication=False, bypassrls=False,
        connection_limit=-1, valid_until=None, comment=None, verifier=None,
    )  # fmt: skip


def cluster(*memberships: tuple[str, str], login: str = "postgres", major: int = 17) -> Cluster:
    roles = {name: a_role(number) for number, name in enumerate((OWNER, READER, WRITER, OTHER), 20)}
    roles |= {"bot": a_role(30, login=True), "cron": a_role(31, login=True)}
    roles["postgres"] = a_role(10, login=True, superuser=True)
    database: Any = SimpleNamespace(owner=OWNER, acl=edges("=CONNECT"), connect=True)
    members = tuple(catalog.Membership(group, member, "postgres", False, True, False) for group, member in memberships)
    return Cluster(roles, members, {}, {"shop": database}, {}, {}, login, login == "postgres", major)


def declared(access: Mapping[str, Any] | None = None, *grants: Grant, **schema: Any) -> Database:
    return Database("shop", schemas={"shop": Schema("shop", access=access or {}, **schema)}, grants=grants)


def grant(to: str | None, on: str, *privileges: str, columns: tuple[str, ...] = (), grantable: bool = False) -> Grant:
    kind, _, name = on.partition(" ")
    schema = name.removesuffix(".*") if name.endswith(".*") else None
    return Grant(to, Target(kind, "" if schema else name, schema, columns), privileges, grantable, "spec.yml:9")  # type: ignore[arg-type]


def plans(database: Database, there: Contents, around: Cluster | None = None, **roles: Role) -> Plan:
    """Return the plan of both kinds; the table ``shop.a`` has the columns ``c`` and ``"D d"``."""
    around = around or cluster()
    spec: Any = SimpleNamespace(roles=roles, databases={"shop": database}, migrations=(), database_of=lambda _: "shop")
    look: Any = SimpleNamespace(spec=spec, inputs=SimpleNamespace(graphs={}), wanted={})

    def once(question: Any, *about: Any) -> Any:
        return (
            around if question is catalog.cluster else there if question is catalog.contents else question(look, *about)
        )

    look.once, look.rows = once, lambda *_, **__: [("shop", "a", "c"), ("shop", "a", '"D d"')]
    nothing: Any = None
    parts = []
    for kind in (privilege.FUTURE, privilege.EXISTING):
        wanted, seen = kind.wanted(spec, nothing, {}), kind.seen(look)
        assert wanted.keys() == seen.keys()
        parts += [kind.steps(address, seen[address], wanted[address], nothing) for address in wanted]
    return Plan.joined(parts)


def statements(plan: Plan) -> list[str]:
    return [line.replace('"', "") for step in plan.steps for each in step.effects for line in each.lines[1:]]


TABLES, NUMBERS = objects("table", "a", "b"), objects("sequence", "n", acl=edges(own=()))
ROUTINE = objects("function", "f(integer)", acl=edges("=EXECUTE", own=()))
READ = edges("reader=SELECT")


@pytest.mark.parametrize(
    ("word", "major", "expected"),
    [
        ("none", 17, []),
        ("usage", 17, ["GRANT USAGE ON SCHEMA shop TO reader"]),
        ("read", 17, ["GRANT USAGE ON SCHEMA shop TO reader", "GRANT SELECT ON TABLE shop.a, shop.b TO reader",
                      "GRANT SELECT ON SEQUENCE shop.n TO reader"]),
        ("write", 14, ["GRANT USAGE ON SCHEMA shop TO reader",
                       "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE shop.a, shop.b TO reader",
                       "GRANT USAGE, SELECT ON SEQUENCE shop.n TO reader"]),
        ("maintain", 16, ["GRANT USAGE ON SCHEMA shop TO reader",
                          "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLE shop.a, shop.b TO reader",
                          "GRANT USAGE, SELECT ON SEQUENCE shop.n TO reader"]),
        ("maintain", 17, ["GRANT USAGE ON SCHEMA shop TO reader",
                          "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE, MAINTAIN ON TABLE shop.a, shop.b TO reader",
                          "GRANT USAGE, SELECT ON SEQUENCE shop.n TO reader"]),
    ],
)  # fmt: skip
def test_a_word_is_privileges_on_everything_in_the_schema(word: str, major: int, expected: list[str]) -> None:
    found = plans(declared({READER: word}, defaults_for=()), contents(TABLES, NUMBERS, ROUTINE), cluster(major=major))
    assert statements(found) == expected


@pytest.mark.parametrize(
    ("public", "expected"),
    [
        ("create", ["GRANT CREATE ON SCHEMA shop TO PUBLIC", "REVOKE SELECT ON TABLE shop.v FROM PUBLIC"]),
        ("usage", ["REVOKE SELECT ON TABLE shop.v FROM PUBLIC"]),
        ("none", ["REVOKE EXECUTE ON ROUTINE shop.f(integer) FROM PUBLIC", "REVOKE SELECT ON TABLE shop.v FROM PUBLIC",
                  "REVOKE USAGE ON SCHEMA shop FROM PUBLIC"]),
    ],
)  # fmt: skip
def test_what_everybody_may_do(public: str, expected: list[str]) -> None:
    there = contents(ROUTINE, objects("view", "v", acl=edges("=SELECT")), objects("type", "t", acl=edges("=USAGE")))
    there.schemas["shop"] = there.schemas["shop"]._replace(acl=edges("=USAGE", own=()))  # type: ignore[index]
    found = plans(declared(public=public, defaults_for=()), there)
    assert sorted(statements(found)) == expected


def test_future_objects_are_those_of_the_owner_or_of_whom_the_spec_names() -> None:
    begin = "ALTER DEFAULT PRIVILEGES FOR ROLE"
    assert statements(plans(declared({READER: "read"}), contents(usage=READER))) == [
        f"{begin} owner IN SCHEMA shop GRANT SELECT ON TABLES TO reader",
        f"{begin} owner IN SCHEMA shop GRANT SELECT ON SEQUENCES TO reader",
    ]
    rows = (
        Default(OTHER, "shop", "r", edges("reader=SELECT,INSERT*", own=())),
        Default(WRITER, None, "S", edges("reader=USAGE", own=())),
        Default(READER, "shop", "r", edges("reader=INSERT", own=())),
    )
    found = plans(declared({READER: "usage"}, defaults_for=(WRITER,)), contents(usage=READER, defaults=rows))
    assert statements(found) == [
        f"{begin} other IN SCHEMA shop REVOKE SELECT, INSERT ON TABLES FROM reader",
        f"{begin} writer REVOKE USAGE ON SEQUENCES FROM reader",
    ]


@pytest.mark.parametrize("acl", [edges(own=()), edges("=EXECUTE", own=())])
def test_a_default_of_nothing_is_none_to_the_server(acl: frozenset[Edge]) -> None:
    """Where not even the creator is in it, the server falls back on what is built in: everybody may execute."""
    begin = "ALTER DEFAULT PRIVILEGES FOR ROLE owner"
    there = contents(defaults=(Default(OWNER, None, "f", acl),))
    assert statements(plans(declared(public="none"), there)) == [
        f"{begin} REVOKE EXECUTE ON ROUTINES FROM PUBLIC",
        f"{begin} GRANT EXECUTE ON ROUTINES TO owner",
    ]


def test_a_default_of_all_schemas_is_changed_once() -> None:
    rows = (Default(OWNER, None, "r", edges("reader=SELECT,INSERT", own=())),)
    there = contents(defaults=rows)
    there.schemas["more"] = there.schemas["shop"]  # type: ignore[index]
    schemas = {name: Schema(name, access={READER: word}) for name, word in (("shop", "none"), ("more", "usage"))}
    found = [each for each in statements(plans(Database("shop", schemas=schemas), there)) if "REVOKE" in each]
    assert found == ["ALTER DEFAULT PRIVILEGES FOR ROLE owner REVOKE SELECT, INSERT ON TABLES FROM reader"]


def test_all_objects_of_a_kind_are_also_those_to_come() -> None:
    every = grant(None, "routine shop.*", "EXECUTE"), grant(READER, "table shop.*", "SELECT", grantable=True)
    there = contents(
        TABLES, NUMBERS, ROUTINE._replace(acl=edges(own=())), columns={("shop", "a"): {"c": edges("reader=UPDATE")}}
    )
    found = plans(declared({READER: "write"}, *every), there)
    assert [each for each in statements(found) if "EXECUTE" in each or "SELECT" in each] == [
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA shop GRANT USAGE, SELECT ON SEQUENCES TO reader",
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA shop GRANT EXECUTE ON ROUTINES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA shop GRANT SELECT ON TABLES TO reader WITH GRANT OPTION",
        "GRANT USAGE, SELECT ON SEQUENCE shop.n TO reader",
        "GRANT EXECUTE ON ROUTINE shop.f(integer) TO PUBLIC",
        "GRANT SELECT ON TABLE shop.a, shop.b TO reader WITH GRANT OPTION",
    ]
    titles = {step.title for step in found.steps}
    assert {"execute on routines shop.* to PUBLIC", "select with grant option on tables shop.* to reader"} <= titles
    with pytest.raises(RefusedError, match="1 object") as refused:
        plans(declared(None, grant(READER, "table nowhere.*", "SELECT")), there)
    assert refused.value.evidence == ("spec.yml:9: tables nowhere.*; there is no schema nowhere",)


def test_a_superuser_keeps_what_everybody_may_run_unless_the_spec_names_it() -> None:
    taken = "ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE EXECUTE ON ROUTINES FROM PUBLIC"
    assert statements(plans(declared(public="none"), contents())) == [taken.format(OWNER)]
    named = declared(public="none", defaults_for=(OWNER, "postgres"))
    assert statements(plans(named, contents())) == [taken.format(OWNER), taken.format("postgres")]
    there = contents()
    there.schemas["shop"] = there.schemas["shop"]._replace(owner="postgres")  # type: ignore[index]
    assert statements(plans(declared(public="none"), there)) == []


@pytest.mark.parametrize(
    ("acl", "columns", "expected"),
    [
        (edges("reader=SELECT,INSERT"), {}, ["REVOKE INSERT ON TABLE shop.t FROM reader"]),
        (edges("reader=SELECT*"), {}, ["REVOKE GRANT OPTION FOR SELECT ON TABLE shop.t FROM reader"]),
        (edges(), {}, ["GRANT SELECT ON TABLE shop.t TO reader"]),
        (READ, {"c": edges("reader=UPDATE", own=())}, ["REVOKE UPDATE (c) ON TABLE shop.t FROM reader"]),
        (edges("reader=INSERT", "other=SELECT"), {"c": edges("other=INSERT", own=())},
         ["REVOKE INSERT ON TABLE shop.t FROM reader", "GRANT SELECT ON TABLE shop.t TO reader"]),
        (edges("other=INSERT*", "reader=INSERT/other", "reader=SELECT"), {},
         ["GRANT INSERT ON TABLE shop.t TO other WITH GRANT OPTION",
          "REVOKE GRANT OPTION FOR INSERT ON TABLE shop.t FROM other CASCADE",
          "REVOKE INSERT ON TABLE shop.t FROM reader CASCADE",
          "GRANT INSERT ON TABLE shop.t TO other WITH GRANT OPTION"]),
        (edges("reader=SELECT*", "other=SELECT/reader"), {},
         ["GRANT SELECT ON TABLE shop.t TO reader WITH GRANT OPTION",
          "REVOKE GRANT OPTION FOR SELECT ON TABLE shop.t FROM reader CASCADE",
          "GRANT SELECT ON TABLE shop.t TO other, reader"]),
        (edges("other=SELECT*", "=SELECT/other", "reader=SELECT"), {}, []),
        (READ, {"c": edges("other=UPDATE*", "reader=UPDATE/other", "writer=UPDATE*/other", own=())},
         ["GRANT UPDATE (c) ON TABLE shop.t TO other WITH GRANT OPTION",
          "REVOKE GRANT OPTION FOR UPDATE (c) ON TABLE shop.t FROM other, writer CASCADE",
          "REVOKE UPDATE (c) ON TABLE shop.t FROM reader CASCADE",
          "GRANT UPDATE (c) ON TABLE shop.t TO other, writer WITH GRANT OPTION"]),
    ],
    ids=["surplus", "option", "missing", "column", "other", "foreign", "passed-on", "undeclared", "foreign-column"],
)  # fmt: skip
def test_what_differs_is_taken_and_given_whoever_granted_it(
    acl: frozenset[Edge], columns: dict[str, frozenset[Edge]], expected: list[str]
) -> None:
    there = contents(objects("table", "t", acl=acl), usage=READER, columns={("shop", "t"): columns} if columns else {})
    assert statements(plans(declared({READER: "read"}, defaults_for=()), there)) == expected


def test_columns_keep_what_a_revoke_on_their_table_takes() -> None:
    """A REVOKE on the table takes the privilege from its columns too."""
    there = contents(
        objects("table", "t", acl=edges("reader=SELECT")),
        columns={("shop", "t"): {"c": edges("reader=SELECT", own=())}},
    )
    only = declared(None, grant(READER, "table shop.t", "SELECT", columns=("c",)), defaults_for=())
    assert statements(plans(only, there)) == [
        "REVOKE SELECT ON TABLE shop.t FROM reader",
        "GRANT SELECT (c) ON TABLE shop.t TO reader",
    ]


def test_a_grantor_that_has_the_privilege_through_a_group_too_is_alone_for_a_moment() -> None:
    """CASCADE leaves what a grantor still could grant in another way; both versions of that are tried on servers."""
    acl = edges("other=SELECT*", "writer=SELECT*/other", "reader=SELECT/other")
    there = contents(objects("table", "t", acl=acl))
    for major, words in ((14, "ALTER ROLE %I NOINHERIT"), (17, "WITH INHERIT %s")):
        found = plans(declared({READER: "none"}, defaults_for=()), there, cluster((WRITER, OTHER), major=major))
        (block,) = [each for each in statements(found) if each.startswith("DO ")]
        assert words in block
        assert "REVOKE GRANT OPTION FOR SELECT ON TABLE shop.t FROM other, writer CASCADE;" in block


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ([grant(READER, "table shop.a")], ["GRANT SELECT ON TABLE shop.b TO reader"]),
        ([grant(READER, "table shop.a", "INSERT", grantable=True)],
         ["GRANT SELECT ON TABLE shop.b TO reader", "GRANT INSERT ON TABLE shop.a TO reader WITH GRANT OPTION"]),
        ([grant(READER, "table shop.*", "UPDATE"), grant(READER, "table shop.b", "ALL")],
         ["GRANT UPDATE ON TABLE shop.a TO reader",
          "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE, MAINTAIN, REFERENCES, TRIGGER ON TABLE shop.b TO reader"]),
        ([grant(READER, "table shop.a", "SELECT", "UPDATE", columns=("c", '"D d"'))],
         ["GRANT SELECT ON TABLE shop.a, shop.b TO reader",
          "GRANT SELECT (c, D d), UPDATE (c, D d) ON TABLE shop.a TO reader"]),
        ([grant(None, "language plpgsql")],
         ["GRANT SELECT ON TABLE shop.a, shop.b TO reader", "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC"]),
        ([grant(READER, "parameter work_mem", "SET")],
         ["GRANT SELECT ON TABLE shop.a, shop.b TO reader", "GRANT SET ON PARAMETER work_mem TO reader"]),
        ([grant(READER, "database shop", "CREATE")],
         ["GRANT SELECT ON TABLE shop.a, shop.b TO reader", "GRANT CREATE ON DATABASE shop TO reader"]),
    ],
    ids=["none", "one", "all", "columns", "language", "parameter", "database"],
)  # fmt: skip
def test_what_is_said_of_fewer_objects_counts(grants: list[Grant], expected: list[str]) -> None:
    there = contents(TABLES, usage=READER)
    assert statements(plans(declared({READER: "read"}, *grants, defaults_for=()), there)) == expected


def test_what_databases_share_is_changed_from_the_maintenance_database() -> None:
    found = plans(
        declared(None, grant(READER, "database shop", "CREATE"), grant(READER, "parameter work_mem", "SET")), contents()
    )
    assert [(each.database, each.shared) for step in found.steps for each in step.effects] == [("postgres", True)] * 2  # type: ignore[attr-defined]


def test_lists_of_a_database_are_its_own_keys() -> None:
    database = Database("shop", connect=(READER,), grants=(grant(READER, "database shop", "CREATE", "CONNECT"),))
    assert statements(plans(database, contents())) == ["GRANT CREATE ON DATABASE shop TO reader"]


def test_the_owner_keeps_what_is_its_own() -> None:
    there = contents(objects("table", "t", acl=edges("owner=TRUNCATE*")))
    assert statements(plans(declared({OWNER: "none"}), there)) == []
    assert statements(plans(declared({OWNER: "maintain"}, defaults_for=()), contents(TABLES))) == [
        "GRANT USAGE ON SCHEMA shop TO owner",
        "GRANT DELETE, TRUNCATE, MAINTAIN ON TABLE shop.a, shop.b TO owner",
    ]


def test_a_plan_names_what_is_taken_and_whom_it_cuts_off() -> None:
    acl = edges("reader=SELECT,INSERT", "writer=INSERT")
    there = contents(objects("table", "a", "b", "c", "d", acl=acl), usage=READER)
    members = cluster((READER, "bot"), (READER, "cron"), (WRITER, "cron"))
    (step,) = plans(declared({READER: "read"}, defaults_for=()), there, members).steps
    assert (step.action, step.title, step.why, step.consequence) == (
        Action.REVOKE, "insert on shop from reader", ("4 tables",), "cuts off bot",
    )  # fmt: skip
    state = step.before
    assert isinstance(state, Access)
    assert state.surplus == {f"insert on table shop.{each}" for each in "abcd"}


def test_routines_of_extensions_are_not_taken_from_everybody_without_a_word() -> None:
    (step,) = plans(
        declared(public="none", defaults_for=()),
        contents(ROUTINE._replace(is_of_extension=True)),
        cluster((READER, "bot")),
    ).steps
    taken = "takes 1 routine of extensions from everybody; operators may need them"
    assert step.consequence == f"cuts off bot, cron; {taken}"


def test_a_long_list_becomes_several_statements() -> None:
    there = contents(objects("table", *[f"table_number_{number}" for number in range(300)]), usage=READER)
    found = statements(plans(declared({READER: "read"}, defaults_for=()), there))
    assert len(found) > 1
    assert all(len(each) < 3_000 for each in found)
    assert sum(each.count("table_number_") for each in found) == 300


def test_an_object_that_is_not_there_is_refused_with_the_name_that_is_nearly_the_same() -> None:
    wrong = (
        grant(READER, "table shop.orderz", "SELECT"),
        grant(None, "language plpgsq"),
        grant(READER, "table shp.a"),
        grant(READER, "table shop.a", "SELECT", columns=("c", "see")),
    )
    there = contents(objects("table", "orders", "a"))
    with pytest.raises(RefusedError, match="name what is not there: 4 objects") as refused:
        plans(declared(None, *wrong), there)
    assert refused.value.evidence == (
        "spec.yml:9: table shop.orderz; did you mean shop.orders?",
        "spec.yml:9: column see of table shop.a",
        "spec.yml:9: table shp.a; there is no schema shp, did you mean shop?",
        "spec.yml:9: language plpgsq; did you mean plpgsql?",
    )


def test_an_object_that_is_still_to_be_made_is_waited_for() -> None:
    database = Database("shop", schemas={"new": Schema("new")}, grants=(grant(READER, "table new.a", "SELECT"),))
    (step,) = plans(database, contents()).steps
    assert (step.action, step.effects, step.title) == (Action.GRANT, (), "select on table new.a to reader")
    assert step.why == ("what this apply will make",)


def test_a_step_says_for_whom_it_acts() -> None:
    """What a login that is no superuser makes of that: see test_preflight."""
    there = contents(TABLES, usage=READER)
    plan = plans(declared({READER: "read"}, defaults_for=(WRITER,)), there)
    assert [each.acts_for for step in plan.steps for each in step.effects] == [(WRITER,), (OWNER,)]  # type: ignore[attr-defined]


def test_a_role_that_is_to_be_renamed_has_what_it_had() -> None:
    there = contents(objects("table", "a", "b", acl=edges("reader=SELECT,INSERT")), usage=READER)
    renamed = {"fresh": Role("fresh", renamed_from=READER)}
    policy = declared({"fresh": "write"}, defaults_for=())
    assert statements(plans(policy, there, **renamed)) == ["GRANT UPDATE, DELETE ON TABLE shop.a, shop.b TO fresh"]
    policy = declared({"fresh": "usage"}, defaults_for=())
    assert statements(plans(policy, there, **renamed)) == [], "what it has too much goes after that, by its new name"


def test_fifty_grantees_are_worth_a_remark() -> None:
    there = contents(objects("table", "t", acl=edges(*[f"r{number}=SELECT" for number in range(49)])))
    assert plans(declared({READER: "none"}), there).remarks == (
        "table shop.t: 50 grantees; grant to groups, and make logins their members: an ACL has to fit into one row",
    )


def test_one_look_judges_once() -> None:
    """Both kinds share the answer; a database that cannot be entered is not judged."""
    around = cluster()
    around.databases["shop"].connect = False  # type: ignore[misc]
    spec: Any = SimpleNamespace(databases={"shop": declared({READER: "read"})})
    look: Any = SimpleNamespace(spec=spec, once=lambda _: around)
    assert judge(look, "shop") is None
