"""Roles and databases as a spec writes them: the other way round of :mod:`provision.spec.inside`.

What has its default is left out, and so is a password. An entry is one line where that is not too long.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from provision.spec.access import NEVER, NO_LIMIT, PUBLIC, Database, Extension, Member, Role, Schema
from provision.spec.grants import ALL
from provision.spec.object_names import parse
from provision.spec.role_names import EVERYBODY
from provision.spec.setting_values import is_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provision.spec.access import Grant, Grantee, Target, Values

    Entries = dict[str, Any]
    """Keys with texts, :class:`Plain` texts, booleans, numbers, lists and mappings as their values."""

_WIDEST: Final = 110
_PLAIN: Final = r"[A-Za-z_][A-Za-z0-9_.-]*(?:\.\*)?"
_BASIC_PLANE: Final = 0xFFFF
_NOT_TEXT: Final = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
_NUMBER: Final = r"[0-9]+[a-zA-Z]*"
_ALL_OF: Final = {"table": "tables", "sequence": "sequences", "routine": "routines"}
_QUOTED_NAMES: Final = ("schema", "language", "fdw", "server", "database")
"""Kinds of which a spec has the name itself, and :class:`Target` has it as SQL writes it."""


class Plain(str):
    """A text that is written without quotes, although another reader may take it for something else."""

    __slots__ = ()


def lines(roles: Mapping[str, Role], databases: Mapping[str, Database]) -> Iterator[str]:
    """Yield the sections ``roles`` and ``databases``; an empty one is left out."""
    for name, section in (
        ("roles", {name: _role(each) for name, each in roles.items()}),
        ("databases", {name: _database(each) for name, each in databases.items()}),
    ):
        if section:
            yield f"{name}:"
            yield from _block(section, "  ")


def _block(entries: Entries, indent: str) -> Iterator[str]:
    for key, value in entries.items():
        line = f"{indent}{scalar(key)}: {_flow(value)}"
        if not value or not isinstance(value, dict | list) or len(line) <= _WIDEST:
            yield line
        elif isinstance(value, dict):
            yield f"{indent}{scalar(key)}:"
            yield from _block(value, f"{indent}  ")
        else:
            yield f"{indent}{scalar(key)}:"
            yield from (f"{indent}  - {_flow(each)}" for each in value)


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{{{}}}".format(", ".join(f"{scalar(key)}: {_flow(each)}" for key, each in value.items()))
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | Plain) else scalar(str(value), is_value=True)


def scalar(text: str, *, is_value: bool = False) -> str:
    """Return a text as YAML, in quotes where another reader would take it for something else."""
    if isinstance(text, Plain):
        return text
    if is_value:
        text = re.sub(r"\$(?=[${])", "$$", text)  # what would be a variable
    if re.fullmatch(_PLAIN, text) and text.lower() not in _NOT_TEXT:
        return text
    return quoted(text)


def quoted(text: str) -> str:
    """Return a text as YAML has it in quotes."""
    if '"' in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    return '"{}"'.format("".join(map(_escaped, text)))


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    code = ord(character)
    return character if character.isprintable() else f"\\u{code:04x}" if code <= _BASIC_PLANE else f"\\U{code:08x}"


def _role(role: Role) -> Entries:
    if role.is_external:
        return {"external": True}
    flags = ("login", "superuser", "createdb", "createrole", "replication", "bypassrls", "inherit")
    entries = _differing(role, Role(role.name), *flags)
    if role.member_of:
        entries["member_of"] = [_member(each) for each in role.member_of]
    if role.connection_limit != NO_LIMIT:
        entries["connection_limit"] = role.connection_limit
    if role.valid_until != NEVER:
        entries["valid_until"] = Plain(role.valid_until)
    if role.settings:
        entries["settings"] = _settings(role.settings)
    if role.settings_in:
        entries["settings_in"] = {name: _settings(each) for name, each in role.settings_in.items()}
    if role.comment is not None:
        entries["comment"] = role.comment or Plain("none")
    return entries


def _differing(value: object, default: object, *names: str) -> Entries:
    """Return the fields of a value that are not as they are by default."""
    return {name: getattr(value, name) for name in names if getattr(value, name) != getattr(default, name)}


def _member(member: Member) -> Any:
    options = _differing(member, Member(member.group), "admin", "inherit", "set")
    return {"role": member.group, **options} if options else member.group


def _settings(values: Values) -> Entries:
    return {name: Plain("default") if each is None else _setting(name, each) for name, each in values.items()}


def _setting(name: str, elements: tuple[str, ...]) -> Any:
    texts = [Plain(each) if re.fullmatch(_NUMBER, each) else each for each in elements]
    if is_list(name):
        is_word = len(texts) == 1 and re.fullmatch(_PLAIN, texts[0]) and texts[0] != "default"
        return texts[0] if is_word else [each for each in texts if texts != [""]]
    return texts[0]


def _grantee(grantee: Grantee) -> Any:
    if grantee is PUBLIC:
        return EVERYBODY
    return {"role": grantee} if grantee.casefold() == EVERYBODY else grantee


def _database(database: Database) -> Entries:
    made_with = ("owner", "template", "encoding", "locale", "provider", "icu_locale", "tablespace")
    others = ("connection_limit", "allow_connections", "comment")
    entries = _differing(database, Database(database.name), *made_with, *others)
    if database.connection_limit == NO_LIMIT:
        entries["connection_limit"] = Plain("none")
    for name, able in (("connect", database.connect), ("temporary", database.temporary)):
        if able is not None:
            entries[name] = [_grantee(each) for each in able]
    if database.settings:
        entries["settings"] = _settings(database.settings)
    if database.schemas:
        entries["schemas"] = {name: _schema(each) for name, each in database.schemas.items()}
    if database.extensions:
        entries["extensions"] = [_extension(each) for each in database.extensions]
    if database.grants:
        entries["grants"] = [_grant(each) for each in database.grants]
    return entries


def _schema(schema: Schema) -> Entries:
    if schema.is_absent:
        return {"state": "absent"}
    entries = _differing(schema, Schema(schema.name), "owner", "public")
    if schema.access:
        entries["access"] = dict(schema.access)
    if schema.defaults_for is not None:
        entries["defaults_for"] = list(schema.defaults_for)
    if schema.comment is not None:
        entries["comment"] = schema.comment or Plain("none")
    return entries


def _extension(extension: Extension) -> Any:
    options = _differing(extension, Extension(extension.name), "schema", "version", "cascade")
    return {"name": extension.name, **options} if options else extension.name


def _grant(grant: Grant) -> Entries:
    privileges: Any = [each.lower() for each in grant.privileges] or Plain("none")
    if grant.privileges == ALL:
        privileges = Plain("all")
    grantable = {"grantable": True} if grant.grantable else {}
    return {"to": _grantee(grant.to), Plain("on"): _target(grant.on), "privileges": privileges, **grantable}


def _target(target: Target) -> Entries:
    if target.schema is not None:
        return {_ALL_OF[target.kind]: f"{_sql(target.schema)}.*"}
    name = parse(target.name).parts[0] if target.kind in _QUOTED_NAMES else target.name
    columns = [parse(each).parts[0] for each in target.columns]
    return {target.kind: name, **({"columns": columns} if columns else {})}


def _sql(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"{}"'.format(name.replace('"', '""'))
