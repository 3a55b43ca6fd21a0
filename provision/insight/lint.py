"""What is dangerous about the roles and privileges of a server, whoever made them: a rule each.

The rules look at every role, and into the declared databases. None of them changes anything.
https://www.postgresql.org/docs/current/predefined-roles.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from provision.errors import UsageError
from provision.insight.paths import ways
from provision.insight.reach import Thing, things, word
from provision.kinds import Look, catalog, providers
from provision.kinds.catalog import Cluster, Contents
from provision.kinds.rights import OWN_ROLES_SINCE
from provision.model.value import dataclass
from provision.model.words import count, some_of

Operators = Mapping[str, frozenset[str]]

_DOZEN, _MOST_GRANTEES, _SHOWN = 12, 50, 5
_DATA = {
    "pg_read_all_data": "reads every table of every database, and the verifier of every password in pg_authid",
    "pg_write_all_data": "writes every table of every database",
}
_SERVER = {
    "pg_execute_server_program": "runs programs as the system user of the server, so it can become superuser",
    "pg_write_server_files": "writes the server's files, so it can become superuser",
    "pg_read_server_files": "reads the server's files, every table and verifier among them",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is dangerous: a sentence, its evidence, and what to do. ``database`` None: the whole server."""

    rule: str
    sentence: str
    evidence: tuple[str, ...]
    next_step: str
    database: str | None = None


@dataclass(frozen=True)
class Findings:
    """What the rules have found; ``ignored`` counts what was meant, ``unknown`` is what the login could not see."""

    databases: tuple[str, ...]
    found: tuple[Finding, ...]
    ignored: int
    unknown: tuple[str, ...]


class _Seen(NamedTuple):
    """What the rules look at. ``paths`` are the search path of each database, ``now`` is the server's clock."""

    cluster: Cluster
    contents: Mapping[str, Contents]
    operators: Operators
    paths: Mapping[str, str]
    now: str


def lint(look: Look, databases: Sequence[str], ignored: Sequence[str] = ()) -> Findings:
    """Return what is dangerous, but for the rules that are to be ``ignored``.

    Raises:
        UsageError: there is no such rule.
        UnseenError: the server cannot be asked.
    """
    if unknown := [each for each in ignored if each not in RULES]:
        raise UsageError(f"there is no rule {unknown[0]!r}; there are {', '.join(RULES)}")
    seen = _see(look, databases)
    every = [each for rule in RULES.values() for each in rule(seen)]
    found = tuple([each for each in every if each.rule not in ignored])
    unseen = () if seen.cluster.is_superuser else (_VERIFIERS,)
    return Findings(tuple(databases), found, len(every) - len(found), unseen)


_VERIFIERS = "md5-password: only a superuser sees how passwords are kept"
_FACTS = """
SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), current_setting('search_path'),
    ARRAY(SELECT DISTINCT e.extname::text FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_operator'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
"""


def _see(look: Look, databases: Sequence[str]) -> _Seen:
    cluster = look.once(catalog.cluster)
    operators, paths, now = {}, {}, ""
    for name in databases:
        ((now, ours, extensions),) = look.rows(_FACTS, database=name)
        operators[name] = frozenset(extensions)
        settings = [cluster.settings.get(each, {}) for each in ((name, None), (None, None))]
        paths[name] = next((each["search_path"] for each in settings if "search_path" in each), ours)
    contents = {name: look.once(catalog.contents, name) for name in databases}
    return _Seen(cluster, contents, operators, paths, now)


def _predefined(seen: _Seen, rule: str, dangers: Mapping[str, str]) -> Iterator[Finding]:
    """Find the roles that have, or can take, the powers of predefined roles; superusers have them anyhow."""
    above: dict[str, list[str]] = {}
    for each in sorted(seen.cluster.memberships):
        if each.admin or each.set is not False or each.inherit:
            above.setdefault(each.member, []).append(each.group)
    for predefined, danger in dangers.items():
        members = {
            name: reached[predefined]
            for name, role in sorted(seen.cluster.roles.items())
            if not role.superuser and not name.startswith("pg_") and predefined in (reached := ways(name, above))
        }
        logins = {name: way for name, way in members.items() if seen.cluster.roles[name].login}
        if members:
            evidence = [" → ".join(map(word, (name, *way))) for name, way in (logins or members).items()]
            direct = dict.fromkeys(word((name, *way)[-2]) for name, way in members.items())
            advice = "grant `access` to the schemas that it needs, then: " if rule == "all-data" else ""
            yield Finding(
                rule,
                f"a member of {predefined} {danger}",
                tuple(evidence),
                f"{advice}REVOKE {predefined} FROM {', '.join(direct)}",
            )


def _public_create(seen: _Seen) -> Iterator[Finding]:
    """Find where every role may make objects: a function of one runs with the rights of another who calls it."""
    for database, thing in _things(seen):
        if any(each.grantee is None and each.privilege == "CREATE" for each in thing.acl):
            what = f"{thing.kind.upper()} {thing.names[0]}"
            spec = f"write `public: usage` under the schema {thing.names[0]}; or: " if thing.kind == "schema" else ""
            yield Finding(
                "public-create",
                f"every role may create objects in the {thing.kind} {thing.names[0]}, for others to use by mistake",
                (f"CREATE on the {thing.kind} {thing.names[0]} is granted to PUBLIC",),
                f"{spec}REVOKE CREATE ON {what} FROM PUBLIC",
                database,
            )


def _superusers(seen: _Seen) -> Iterator[Finding]:
    provider = providers.of(seen.cluster.roles)
    own = provider.superusers if provider else ()
    roles = [each for each in seen.cluster.roles.items() if each[0] not in own]
    yield from _of_roles(
        "superuser-login",
        "a login beside the first superuser can do everything, and no privilege limits it",
        [name for name, role in roles if role.superuser and role.login and role.oid != catalog.FIRST_SUPERUSER],
        "ALTER ROLE {} NOSUPERUSER, and give it what it needs",
    )


def _creators(seen: _Seen) -> Iterator[Finding]:
    """Find who may grant itself any role that is no superuser: https://www.postgresql.org/docs/15/role-attributes.html."""
    if seen.cluster.major >= OWN_ROLES_SINCE:
        return
    roles = seen.cluster.roles.items()
    yield from _of_roles(
        "createrole",
        "before PostgreSQL 16, CREATEROLE grants itself any other role, also pg_execute_server_program",
        [name for name, role in roles if role.createrole and not role.superuser and name != seen.cluster.login],
        "ALTER ROLE {} NOCREATEROLE, or upgrade the server",
    )


def _of_roles(rule: str, sentence: str, names: Iterable[str], advice: str) -> Iterator[Finding]:
    """Yield one finding about all of some roles, where there are any; the advice names the first."""
    if found := tuple(map(word, sorted(names))):
        yield Finding(rule, sentence, found, advice.format(found[0]))


def _off_path(seen: _Seen) -> Iterator[Finding]:
    """Find extensions whose operators are not found by their names, so that another one is taken, or none."""
    for database, contents in seen.contents.items():
        path = seen.paths[database]
        listed = [each.strip().strip('"') for each in path.split(",")]
        for name, each in sorted(contents.extensions.items()):
            user = seen.cluster.roles.get(each.schema)
            is_users = "$user" in listed and user is not None and user.login
            if name not in seen.operators[database] or each.schema in ("pg_catalog", *listed) or is_users:
                continue
            silent = "citext compares as text, silently" if name == "citext" else "its operators are not found"
            yield Finding(
                "extension-off-path",
                f"the extension {word(name)} is in a schema off the search_path: {silent}",
                (f"it is in {word(each.schema)}; the search_path of the database {word(database)} is {path}",),
                f"write `settings: {{search_path: [{', '.join([*listed, each.schema])}]}}` under the database",
                database,
            )


def _same_grants(seen: _Seen) -> Iterator[Finding]:
    """Find single logins that all have the same grants: a group would have them once."""
    held: dict[str, set[tuple[Thing, str]]] = defaultdict(set)
    places: dict[str, str] = {}
    for database, thing in _things(seen):
        for each in thing.acl:
            role = seen.cluster.roles.get(each.grantee or "")
            if each.grantee and role and role.login and each.grantee != thing.owner:
                held[each.grantee].add((thing, each.privilege))
                places[each.grantee] = database
    alike: dict[frozenset[tuple[Thing, str]], list[str]] = defaultdict(list)
    for name in sorted(held):
        alike[frozenset(held[name])].append(name)
    for grants, names in alike.items():
        if len(names) >= _DOZEN:
            example, privilege = min(grants, key=lambda each: (each[0].kind, each[0].names, each[1]))
            yield Finding(
                "same-grants",
                f"{count(len(names), 'login')} have the same grants, each of its own",
                (
                    f"{privilege} on the {example.kind} {example.names[0]}, for example: "
                    + some_of(map(word, names), most=_SHOWN),
                ),
                "grant them to one role without a login, and make the logins its members (`member_of`)",
                places[names[0]],
            )


def _many_grantees(seen: _Seen) -> Iterator[Finding]:
    for database, thing in _things(seen):
        grantees = {each.grantee for each in thing.acl}
        if len(grantees) >= _MOST_GRANTEES:
            more = f" and {len(thing.names) - 1} more like it" if len(thing.names) > 1 else ""
            yield Finding(
                "many-grantees",
                f"{len(grantees)} roles have grants on one object: no GRANT works once its ACL outgrows its row",
                (f"the {thing.kind} {thing.names[0]}{more}",),
                "grant them to one role without a login, and make the others its members (`member_of`)",
                database,
            )


def _md5(seen: _Seen) -> Iterator[Finding]:
    names = [name for name, role in sorted(seen.cluster.roles.items()) if (role.verifier or "").startswith("md5")]
    if names:
        yield Finding(
            "md5-password",
            "a password is kept as md5: who reads such a hash can log in with it",
            (some_of(map(word, names), most=_SHOWN),),
            "set `password_encryption` to scram-sha-256, then set each password again; apply does that for `roles`",
        )


def _expired(seen: _Seen) -> Iterator[Finding]:
    names = [
        f"{word(name)} since {role.valid_until[:10]}"
        for name, role in sorted(seen.cluster.roles.items())
        if role.login and role.valid_until is not None and role.valid_until < seen.now
    ]
    if names:
        yield Finding(
            "expired-login",
            "the password of a login has expired; by certificate, peer or trust it still gets in",
            tuple(names),
            "write a later `valid_until`, or `login: false`, or `state: absent`",
        )


RULES: Mapping[str, Callable[[_Seen], Iterable[Finding]]] = {
    "all-data": lambda seen: _predefined(seen, "all-data", _DATA),
    "server-access": lambda seen: _predefined(seen, "server-access", _SERVER),
    "superuser-login": _superusers,
    "createrole": _creators,
    "public-create": _public_create,
    "extension-off-path": _off_path,
    "same-grants": _same_grants,
    "many-grantees": _many_grantees,
    "md5-password": _md5,
    "expired-login": _expired,
}


def _things(seen: _Seen) -> Iterator[tuple[str, Thing]]:
    for database, contents in seen.contents.items():
        yield from ((database, each) for each in things(seen.cluster, contents, database))
