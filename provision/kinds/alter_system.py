"""Settings of a server that somebody else runs: compared with the spec, and changed only where that was asked for.

There is no rendered file here: what is declared comes from the spec itself. With ``settings_via: alter_system`` a
difference is removed by ``ALTER SYSTEM`` and a reload. A restart and the server's command line are out of reach: what
they hold back is a note of the plan and no step, so that an apply that did what it can ends well.
https://www.postgresql.org/docs/current/sql-altersystem.html
"""

from __future__ import annotations

from provision.errors import RefusedError
from provision.kinds import Look, Scene
from provision.kinds.pg_settings import Powers, Settings, in_force, is_same
from provision.model import MAINTENANCE, Action, Address, Plan, Step
from provision.model.effects import ReloadSettings, RunSql
from provision.model.sql import IS_STANDBY, identifier, literal
from provision.model.value import replace
from provision.spec.parameters import catalogue
from provision.spec.setting_values import list_items

# GUC_LIST_QUOTE: each item is an argument of its own (variable_is_guc_list_quote in pg_dump's dumputils.c).
_QUOTED_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
# Sources that win over ALTER SYSTEM, and where each is.
_STRONGER = {
    "command line": "the server's command line",
    "environment variable": "the server's environment",
    "global": "ALTER ROLE ALL SET",
    "database": "ALTER DATABASE … SET",
    "user": "ALTER ROLE … SET",
    "database user": "ALTER ROLE … IN DATABASE … SET",
}
_WAITS = "setting could not be applied"  # pg_file_settings.error of what needs a restart
_FIRST_MAJOR_WITH_GRANTS = 15
_AUTO_CONF = "postgresql.auto.conf"

_POWERS = f"""
SELECT current_user, coalesce(current_setting('allow_alter_system', true), 'on') = 'on',
    has_function_privilege('pg_reload_conf()', 'EXECUTE'),
    has_table_privilege('pg_file_settings', 'SELECT')
        AND has_function_privilege('pg_show_all_file_settings()', 'EXECUTE'),
    pg_has_role('pg_read_all_settings', 'USAGE'), rolsuper,
    ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname = ANY (%s)),
    ARRAY(SELECT coalesce(nullif(application_name, ''), 'a standby') FROM pg_stat_replication AS r
          WHERE {IS_STANDBY} ORDER BY 1)
FROM pg_roles WHERE rolname = current_user
"""  # noqa: S608  # from constants only
_MAY_ALTER = "SELECT name FROM unnest(%s) AS t (name) WHERE has_parameter_privilege(name, 'ALTER SYSTEM')"
_WAITING = "SELECT name, setting FROM pg_file_settings WHERE NOT applied AND error = %s ORDER BY seqno"


def seen(look: Look, want: Settings) -> Settings:
    """Read the declared settings; where one differs, also what our role may do about it."""
    major = look.spec.server.major
    values, rows = in_force(look, want.values, "")
    waits = any(row.pending_restart for row in rows.values())
    found = replace(want, values=values, raw={}, rows=rows)
    if values == want.values and not waits:
        return found
    powers, coming = _powers(look, want), {}
    if powers.file and waits:
        for name, value in look.rows(_WAITING, (_WAITS,)):
            coming[name] = want.values[name] if is_same(major, name, want.values.get(name), value) else value
    return replace(found, coming=coming, powers=powers)


def _powers(look: Look, want: Settings) -> Powers:
    from provision.kinds import providers  # loaded only where something differs

    ((role, allowed, reload, file, everything, superuser, roles, standbys),) = look.rows(_POWERS, (providers.ROLES,))
    alter, provider = list(want.values), providers.of(roles)
    if not superuser:
        has_grants = look.spec.server.major >= _FIRST_MAJOR_WITH_GRANTS
        alter = [name for (name,) in look.rows(_MAY_ALTER, (alter,))] if has_grants else []
    manager = provider and (provider.name, provider.settings)
    return Powers(role, allowed, reload, file, everything, frozenset(alter), manager, tuple(standbys))


def steps(address: Address, before: Settings, after: Settings, scene: Scene) -> Plan:
    """Return the ALTER SYSTEM and the reload for the differences that can be removed from here, and name the others.

    Raises:
        RefusedError: our role lacks a privilege, to read or to change.
    """
    major = scene.spec.server.major
    _refuse_blindness(before, after, major)
    names = _alterable(before, after) if after.via == "alter_system" else ()
    notes = tuple(
        f"{name} is {_shown(before, name)}, and {after.raw[name]!r} is declared: {_whose(before, after, name)}"
        for name in sorted(after.values)
        if before.values.get(name) != after.values[name] and name not in names
    )
    if not names:
        return Plan(notes=notes)
    _refuse_impotence(before, names, major)
    restarting = [name for name in names if name in before.rows and before.rows[name].context == "postmaster"]
    text = "reload: no connection is dropped"
    if restarting:
        text = f"in force only after a restart of the server, which is yours to do: {', '.join(restarting)}"
    # Before 16 ALTER SYSTEM knows a custom setting (`myapp.note`) only in a session that has set it.
    custom = (name for name in names if "." in name and name not in before.rows)
    statements = (
        *(statement(name, after.raw[name], "SET") for name in custom),
        *(statement(name, after.raw[name]) for name in names),
    )
    effects = (RunSql(MAINTENANCE, statements), ReloadSettings(None))
    why = before.changes(names, after)
    return Plan((Step(address, Action.RELOAD, before, after, effects, why=why, consequence=text),), notes)


def _whose(before: Settings, after: Settings, name: str) -> str:
    """Say who can remove a difference."""
    if after.via != "alter_system":
        if before.powers is not None and before.powers.provider is not None:
            return "compared only; with {}, change it in {}".format(*before.powers.provider)
        return "settings of this server are only compared (`settings_via: alter_system` would change them)"
    if before.coming.get(name) == after.values[name]:
        return "it is set, and waits for a restart of the server; restart it yourself"
    row = before.rows.get(name)
    if row is not None and row.source in _STRONGER:
        return f"it comes from {_STRONGER[row.source]}, which ALTER SYSTEM cannot override; change it there"
    return "ALTER SYSTEM cannot make a list empty; change it in the server's configuration file"


def _shown(before: Settings, name: str) -> str:
    return repr(before.rows[name].shown) if name in before.rows else "not set"


def _alterable(before: Settings, after: Settings) -> tuple[str, ...]:
    """Return the settings that ALTER SYSTEM has to set: they differ now, or will with the next restart."""
    found = []
    for name, value in sorted(after.values.items()):
        row = before.rows.get(name)
        coming = before.coming.get(name, before.values.get(name))
        overridden = row is not None and row.source in _STRONGER
        emptied = name in _QUOTED_LISTS and not after.raw[name].strip()
        foreign = emptied and not (row is not None and row.file.endswith(_AUTO_CONF))
        if coming != value and not overridden and not foreign:
            found.append(name)
    return tuple(found)


def statement(name: str, raw: str, verb: str = "ALTER SYSTEM SET") -> str:
    r"""Return the statement that sets one setting.

    An empty list is reset: as a value it would be a list of one empty name, and with ``shared_preload_libraries`` the
    server would not start any more.

    >>> statement("work_mem", "8MB")
    'ALTER SYSTEM SET "work_mem" TO \'8MB\''
    """
    quoted = identifier(*name.split("."))
    items = list_items(raw) if name in _QUOTED_LISTS else None
    if items is None:
        return f"{verb} {quoted} TO {literal(raw)}"
    if not items:
        return f"ALTER SYSTEM RESET {quoted}"
    return f"{verb} {quoted} TO {', '.join(literal(each) for each in items)}"


def _refuse_blindness(before: Settings, after: Settings, major: int) -> None:
    hidden = [name for name in sorted(after.values) if name not in before.rows and name in catalogue(major)]
    if not hidden or before.powers is None:
        return
    role = before.powers.role
    if before.powers.read:
        raise RefusedError(
            f"this server does not have the setting {hidden[0]!r}, although PostgreSQL {major} does",
            evidence=[f"{name} is not in pg_settings" for name in hidden],
            next_step="remove it from `server.settings`",
        )
    raise RefusedError(
        f"the role {role!r} may not read declared settings: {', '.join(hidden)}",
        evidence=["the privilege that is missing: membership in pg_read_all_settings"],
        next_step=f"as an administrator: GRANT pg_read_all_settings TO {identifier(role)}; "
        "or remove them from `server.settings`",
    )


def _refuse_one_of_several(powers: Powers, names: tuple[str, ...]) -> None:
    if powers.standbys:
        raise RefusedError(
            "`settings_via: alter_system` changes one server, and standbys stream from this one: "
            "a value would stay on it, and be gone after a failover",
            evidence=[f"a standby streams: {each}" for each in powers.standbys] + [f"{name} differs" for name in names],
            next_step="write `settings_via: patroni` if Patroni runs the cluster; else change them on each server, and "
            "leave out `settings_via`: they are compared only",
        )


def _refuse_impotence(before: Settings, names: tuple[str, ...], major: int) -> None:
    powers = before.powers
    if powers is None:
        return
    if not powers.allowed:
        raise RefusedError(
            "the server does not allow ALTER SYSTEM (`allow_alter_system` is off)",
            evidence=[f"{name} differs" for name in names],
            next_step="change the settings where its operator does, and leave out `settings_via`",
        )
    if powers.provider is not None and not powers.alter.issuperset(names):
        provider, place = powers.provider
        raise RefusedError(
            f"{provider} lets no customer change settings with ALTER SYSTEM",
            evidence=[f"{name} differs" for name in names],
            next_step=f"change them in {place}, and leave out `settings_via`: they are compared only",
        )
    _refuse_one_of_several(powers, names)
    role = identifier(powers.role)
    denied = [name for name in names if name not in powers.alter]
    grants = [f"GRANT ALTER SYSTEM ON PARAMETER {', '.join(denied)} TO {role}"] if denied else []
    if not powers.reload:
        grants.append(f"GRANT EXECUTE ON FUNCTION pg_reload_conf() TO {role}")
    if not powers.file:
        grants.append(f"GRANT SELECT ON pg_file_settings TO {role}")
        grants.append(f"GRANT EXECUTE ON FUNCTION pg_show_all_file_settings() TO {role}")
    if not grants:
        return
    if major < _FIRST_MAJOR_WITH_GRANTS and denied:
        grants = [f"before PostgreSQL 15 only a superuser may: ALTER ROLE {role} SUPERUSER"]
    raise RefusedError(
        f"the role {powers.role!r} may not change settings with ALTER SYSTEM: {', '.join(denied or names)}",
        evidence=[f"missing: {each}" for each in grants],
        next_step=f"as an administrator: {'; '.join(grants)}; or leave out `settings_via`, and they are only compared",
    )
