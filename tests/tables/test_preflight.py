"""A plan as a login without superuser carries it out, or all that it may not do: decided without a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from provision.errors import RefusedError
from provision.kinds import catalog, preflight
from provision.kinds.catalog import Cluster, Edge
from provision.kinds.membership import Membership
from provision.kinds.role import Role
from provision.model import Action, Address, Change, Plan, Stage, Step
from provision.model.effects import OWNER_OF_DATABASE, RunInTransaction, RunSql
from provision.spec import access

LOGIN = "deploy"
OWNER = "owner"


def a_role(oid: int = 20, **attributes: bool) -> catalog.Role:
    names = ("superuser", "inherit", "createrole", "createdb", "login", "replication", "bypassrls")
    flags = {each: attributes.get(each, each == "inherit") for each in names}
    return catalog.Role(oid, **flags, connection_limit=-1, valid_until=None, comment=None, verifier=None)


def a_cluster(*memberships: tuple[str, str], major: int = 17, **login: bool) -> Cluster:
    """Return a cluster: ``("owner", "a")`` is a membership with ADMIN alone, ``"is"`` one as `GRANT` makes it."""
    able = {"createrole": True, "createdb": True, **login}
    roles = {"postgres": a_role(10, superuser=True), LOGIN: a_role(20, login=True, **able), OWNER: a_role(21)}
    has = major >= 16
    rows = tuple(
        catalog.Membership(
            group,
            LOGIN,
            "postgres",
            admin=how == "admin",
            inherit=how == "is" if has else None,
            set=how == "is" if has else None,
        )
        for group, how in memberships
    )
    acl = frozenset([Edge(None, "CONNECT", grantable=False, grantor=OWNER)])
    there: Any = SimpleNamespace(owner=OWNER, acl=acl, connect=True)
    spaces = {"pg_default": frozenset[Edge]()}
    return Cluster(roles, rows, {}, {"shop": there}, spaces, {}, LOGIN, is_superuser=False, major=major)


def permitted(*steps: Step, cluster: Cluster, trusted: tuple[str, ...] = (), **spec: Any) -> Plan:
    rights = preflight.Rights(cluster, frozenset(trusted))
    scene: Any = SimpleNamespace(spec=SimpleNamespace(roles={}, **{"databases": {}, **spec}))
    return preflight.permitted(Plan(steps), {Address("rights", LOGIN): rights}, scene)


def a_step(*acts_for: str, statement: str = "X", kind: str = "schema/shop/s", **more: Any) -> Step:
    effect = RunInTransaction("shop", (statement,), acts_for=acts_for)
    return Step(Address(*kind.split("/", 1)), Action.UPDATE, None, None, (effect,), **more)


def statements(plan: Plan) -> list[str]:
    return [line.replace('"', "") for step in plan.steps for each in step.effects for line in each.lines[1:]]


def allowing(refused: pytest.ExceptionInfo[RefusedError]) -> list[str]:
    lines = [each.strip().replace('"', "") for each in refused.value.evidence]
    return lines[lines.index("an administrator can allow it (in psql):") + 1 :]


@pytest.mark.parametrize(
    ("memberships", "major", "expected"),
    [
        ([(OWNER, "is")], 17, ["X"]),
        (
            [(OWNER, "admin")],
            17,
            ["GRANT owner TO CURRENT_USER WITH INHERIT TRUE, SET TRUE", "X", "REVOKE owner FROM CURRENT_USER"],
        ),
        ([], 15, ["GRANT owner TO CURRENT_USER", "X", "REVOKE owner FROM CURRENT_USER"]),
        ([(OWNER, "is")], 15, ["X"]),
    ],
)
def test_a_membership_is_there_for_as_long_as_it_is_needed(
    memberships: list[tuple[str, str]], major: int, expected: list[str]
) -> None:
    plan = permitted(a_step(OWNER), cluster=a_cluster(*memberships, major=major))
    assert statements(plan) == expected
    assert plan.steps[0].consequence == ("meanwhile deploy is a member of owner" if len(expected) > 1 else "")


def test_a_role_that_is_made_needs_that_only_before_16() -> None:
    assert statements(permitted(a_step("new"), cluster=a_cluster(major=16))) == ["X"]
    assert len(statements(permitted(a_step("new"), cluster=a_cluster(major=14)))) == 3


def test_whoever_owns_the_database_is_meant_at_the_stage_where_that_counts() -> None:
    declared = {"shop": access.Database("shop", owner="new")}
    for stage, owner in ((Stage.REVOKE, OWNER), (Stage.CHANGE, "new")):
        step = a_step(OWNER_OF_DATABASE, stage=stage)
        plan = permitted(step, cluster=a_cluster(major=14), databases=declared)
        assert statements(plan)[0] == f"GRANT {owner} TO CURRENT_USER"


def test_a_role_that_cannot_be_borrowed_is_asked_for_once() -> None:
    with pytest.raises(RefusedError, match="'deploy' may not do all that this needs") as refused:
        permitted(*[a_step(OWNER, kind=f"schema/shop/s{number}") for number in range(9)], cluster=a_cluster())
    assert refused.value.evidence[0] == (
        "only a member of 'owner' may change what it owns, or will own:"
        " schema/shop/s0, schema/shop/s1, schema/shop/s2, … and 6 more"
    )
    assert allowing(refused) == ["GRANT owner TO deploy WITH INHERIT TRUE, SET TRUE;"]


def test_a_superuser_is_never_borrowed() -> None:
    with pytest.raises(RefusedError) as refused:
        permitted(a_step("postgres", statement="ALTER SCHEMA s OWNER TO owner"), cluster=a_cluster(major=14))
    assert allowing(refused) == ["\\connect shop", "ALTER SCHEMA s OWNER TO owner;"]


def a_new_role(name: str = "app", **fields: Any) -> Step:
    effect = RunInTransaction("postgres", (f"CREATE ROLE {name}",), shared=True)
    return Step(Address("role", name), Action.CREATE, None, Role(name, **fields), (effect,))


@pytest.mark.parametrize(
    ("step", "cluster", "expected"),
    [
        (a_new_role(), a_cluster(createrole=False), ["ALTER ROLE deploy CREATEROLE;"]),
        (
            a_new_role(bypassrls=True),
            a_cluster(major=15),
            ["CREATE ROLE app;", "ALTER ROLE app BYPASSRLS;"],
        ),
        (
            a_new_role(bypassrls=True),
            a_cluster(),
            [
                "CREATE ROLE app;",
                "GRANT app TO deploy WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;",
                "ALTER ROLE app BYPASSRLS;",
            ],
        ),
        (a_new_role(bypassrls=True), a_cluster(bypassrls=True), None),
        (a_new_role(createdb=True), a_cluster(createdb=False), ["ALTER ROLE deploy CREATEDB;"]),
        (a_new_role(createdb=True), a_cluster(createdb=False, major=15), None),
    ],
)
def test_attributes(step: Step, cluster: Cluster, expected: list[str] | None) -> None:
    if expected is None:
        assert permitted(step, cluster=cluster).steps == (step,)
        return
    with pytest.raises(RefusedError) as refused:
        permitted(step, cluster=cluster)
    assert allowing(refused) == expected


def test_a_role_that_another_has_made_is_changed_with_admin_from_16_on() -> None:
    before, after = Role(OWNER), Role(OWNER, login=True)
    effect = RunInTransaction("postgres", ("ALTER ROLE owner LOGIN",), shared=True)
    step = Step(Address("role", OWNER), Action.UPDATE, before, after, (effect,))
    assert permitted(step, cluster=a_cluster(major=15)).steps == (step,)
    assert permitted(step, cluster=a_cluster((OWNER, "admin"))).steps == (step,)
    with pytest.raises(RefusedError) as refused:
        permitted(step, cluster=a_cluster())
    assert allowing(refused) == ["GRANT owner TO deploy WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;"]
    with pytest.raises(RefusedError) as refused:
        permitted(step, cluster=a_cluster((OWNER, "is")))
    assert allowing(refused) == ["GRANT owner TO deploy WITH ADMIN TRUE;"]


def test_members_of_a_group_of_others() -> None:
    after = Membership(OWNER, "app", admin=False, inherit=True, set=False)
    effect = RunInTransaction("postgres", ("GRANT owner TO app",), shared=True)
    step = Step(Address("membership", f"{OWNER}/app"), Action.CREATE, None, after, (effect,))
    with pytest.raises(RefusedError) as refused:
        permitted(step, cluster=a_cluster())
    assert allowing(refused) == ["GRANT owner TO deploy WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;"]
    with pytest.raises(RefusedError) as refused:
        permitted(step, cluster=a_cluster(major=15, createrole=False))
    assert allowing(refused) == ["ALTER ROLE deploy CREATEROLE;"]


@pytest.mark.parametrize(
    ("major", "expected"),
    [
        (15, ["GRANT SET ON PARAMETER log_statement, my.own TO deploy;"]),
        (14, ["ALTER DATABASE shop SET log_statement TO all;", "ALTER DATABASE shop SET my.own TO 1;"]),
    ],
)
def test_settings_of_superusers(major: int, expected: list[str]) -> None:
    names = ("log_statement", "my.own", "work_mem")
    declared = access.Database("shop", settings=dict.fromkeys(names, ("1",)))
    lines = tuple(
        'ALTER DATABASE "shop" SET {} TO {}'.format('"' + each.replace(".", '"."') + '"', value)
        for each, value in zip(names, ("all", 1, "4MB"), strict=True)
    )
    why = tuple(Change(f"settings {each}", None, "1") for each in names)
    effect = RunInTransaction("postgres", lines, shared=True)
    step = Step(Address("database", "shop"), Action.UPDATE, None, None, (effect,), why)
    with pytest.raises(RefusedError) as refused:
        permitted(step, cluster=a_cluster(major=major), databases={"shop": declared})
    assert allowing(refused) == expected
    able = a_cluster((OWNER, "is"), major=15)
    grants = {each: frozenset([Edge(OWNER, "SET", grantable=False, grantor="postgres")]) for each in names[:2]}
    able = Cluster(able.roles, able.memberships, {}, able.databases, {}, grants, LOGIN, is_superuser=False, major=15)
    assert permitted(step, cluster=able, databases={"shop": declared}).steps == (step,)


def test_an_extension_that_is_not_trusted_is_made_by_an_administrator_also_before_its_database_is_there() -> None:
    want = access.Extension("postgis", schema="ext")
    after: Any = SimpleNamespace(name="postgis")
    for name, effects, expected in (
        ("shop", (RunInTransaction("shop", ("CREATE EXTENSION",)),), []),
        ("new", (), ["CREATE DATABASE new OWNER deploy TEMPLATE template0;"]),
    ):
        step = Step(Address("extension", f"{name}/postgis"), Action.CREATE, None, after, effects)
        databases = {name: access.Database(name, extensions=(want,))}
        with pytest.raises(RefusedError) as refused:
            permitted(step, cluster=a_cluster((OWNER, "is")), databases=databases)
        assert allowing(refused) == [
            *expected,
            f"\\connect {name}",
            "CREATE SCHEMA IF NOT EXISTS ext AUTHORIZATION deploy;",
            "CREATE EXTENSION postgis SCHEMA ext;",
        ]
        assert permitted(step, cluster=a_cluster((OWNER, "is")), trusted=("postgis",), databases=databases).steps == (
            step,
        )


def test_what_will_be_needed_in_a_database_that_is_not_there_is_said_before_it_is_made() -> None:
    schemas = {"s": access.Schema("s", owner=OWNER, defaults_for=("maker",))}
    databases = {"new": access.Database("new", schemas=schemas)}
    step = Step(Address("privilege", "new/s/app"), Action.GRANT, None, None, ())
    with pytest.raises(RefusedError) as refused:
        permitted(step, cluster=a_cluster(), databases=databases)
    assert allowing(refused) == ["GRANT owner TO deploy WITH INHERIT TRUE, SET TRUE;"]


def test_the_schema_public_of_a_new_database_belongs_to_a_superuser_before_15() -> None:
    databases = {"new": access.Database("new", schemas={"public": access.Schema("public", public="none")})}
    step = Step(Address("privilege", "new/public/public"), Action.GRANT, None, None, ())
    assert permitted(step, cluster=a_cluster(major=15), databases=databases).steps == (step,)
    with pytest.raises(RefusedError) as refused:
        permitted(step, cluster=a_cluster(major=14), databases=databases)
    assert allowing(refused)[1:] == ["\\connect new", "ALTER SCHEMA public OWNER TO deploy;"]


def test_a_database_that_is_dropped_is_taken_over_first() -> None:
    step = Step(Address("database", "shop"), Action.REMOVE, None, None, (RunSql("postgres", ("DROP",), shown=True),))
    databases = {"shop": access.Database("shop", is_absent=True)}
    assert statements(permitted(step, cluster=a_cluster(major=14), databases=databases)) == [
        "GRANT owner TO CURRENT_USER",
        "ALTER DATABASE shop OWNER TO deploy",
        "REVOKE owner FROM CURRENT_USER",
        "DROP",
    ]


def test_a_new_database_lets_the_login_in() -> None:
    made = (RunSql("postgres", ("CREATE",)), RunInTransaction("postgres", ("REVOKE",), shared=True))
    step = Step(Address("database", "new"), Action.CREATE, None, None, made)
    for connect, expected in (((OWNER,), ["REVOKE", "GRANT CONNECT ON DATABASE new TO deploy"]), ((None,), ["REVOKE"])):
        databases = {"new": access.Database("new", owner=OWNER, connect=connect)}
        assert statements(permitted(step, cluster=a_cluster((OWNER, "is")), databases=databases)) == expected


def test_a_superuser_needs_nothing() -> None:
    step = a_step("postgres")
    scene: Any = None
    assert preflight.permitted(Plan((step,)), {}, scene).steps == (step,)
