"""What single values may be, as JSON Schema: a fragment for each reader of :mod:`provision.spec.readers`.

Numbers and words reach an editor as YAML's types, and the program as the text that was written; so most values are
allowed as both. A text with a variable in it is never judged: only the program knows what it will be.
"""

from __future__ import annotations

import re
from typing import Any, Final

from provision.spec.databases import ACCESS, ENCODINGS
from provision.spec.engine import FORMS, PATTERN
from provision.spec.grants import PRIVILEGES
from provision.spec.image import OLDEST
from provision.spec.parameters import MAJORS
from provision.spec.patroni import ADDRESS
from provision.spec.readers import LARGEST_CPUS, LARGEST_PORT, LONGEST_HOST, LONGEST_IDENTIFIER, SMALLEST_CPUS
from provision.spec.sections import TEMPLATES_MAY
from provision.spec.tenants import MOST_WORKERS

Fragment = dict[str, Any]

VARIABLE: Final = r"\$[${]"
_LINE: Final = r"[^\u0000-\u001f\u007f]"
_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LABEL: Final = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = (
    rf"(?!.*(?:^|\.)[0-9]+$){_LABEL}(?:\.{_LABEL})*|{_OCTET}(?:\.{_OCTET}){{3}}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"
)
_PORT: Final = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_SIZE: Final = r"\s*[0-9]+(?:\.[0-9]+)? ?(?:[bkmgtpBKMGTP](?:[iI]?[bB])?|[iI]?[bB])\s*"
_TIME: Final = r"\s*(?=[^1-9]*[1-9])(?:[0-9]+(?:\.[0-9]+)?(?:ms|us|s|m|h|d))+\s*"
_WORD: Final = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE: Final = (
    rf"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?{_WORD}(?:/{_WORD})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)
_TOO_OLD: Final = r"(?!(?:.*/)?postgres:v?(?:[0-9]|1[0-3])(?:[-_.@]|alpha|beta|rc|$))"
_DRIVER: Final = r"postgres(?:ql)?(?:\+[a-z0-9_]+)?"
_FUNCTION: Final = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_INSTANT: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt]| +)[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r" ?(?:[Zz]|[-+][0-9]{2}(?::?[0-9]{2})?)"
)
_LARGEST: Final = 2**31 - 1
_LETTER: Final = r"[^\u0000-\u005e\u0060\u007b-\u007f]"
_SQL_NAME: Final = rf'(?:{_LETTER}(?:{_LETTER}|[0-9$])*|"(?:[^"]|"")+")'
_SCALAR: Final = ["string", "number", "boolean"]
_UP_TO: Final = {MOST_WORKERS: "[1-9]|[1-5][0-9]|6[0-4]", 999: "[1-9][0-9]{0,2}"}


def pattern(words: str, message: str, *types: str, **more: Any) -> Fragment:
    """Return a fragment of a text that fits ``words`` as a whole; ``message`` is for the editor."""
    expression = f"^(?:{_portable(words)})$|{VARIABLE}"
    return {
        "type": ["string", *types],
        "pattern": expression,
        "patternErrorMessage": message,
        "errorMessage": message,
        **more,
    }


def _portable(expression: str) -> str:
    """Return an expression of Python as JavaScript takes it too.

    >>> _portable("(?P<start>a)b")
    '(?:a)b'
    """
    return re.sub(r"\(\?P<\w+>", "(?:", expression)


def any_case(word: str) -> str:
    """Return an expression for a word of letters, digits, `_`, `-` and spaces in upper or lower case.

    >>> any_case("on_1")
    '[oO][nN]_1'
    """
    return "".join(f"[{each.lower()}{each.upper()}]" if each.isalpha() else each for each in word)


def choice(words: tuple[str, ...]) -> Fragment:
    """Return a fragment of one of some words, of which YAML takes some for a boolean."""
    logical = [word for word in words if word in ("true", "false")]
    values: list[Any] = [word == "true" if word in logical else word for word in words]
    values += [False] if "off" in words and "false" not in words else []
    other = "|".join((VARIABLE, *(f"^{word}$" for word in logical)))
    return {"anyOf": [{"enum": values}, {"type": "string", "pattern": other}]}


def one_line(*, verbatim: bool = False, longest: int = 0) -> Fragment:
    """Return a fragment of a text in one line; a number with a point is one only where it is taken ``verbatim``."""
    return pattern(f"{_LINE}{{1,{longest or ''}}}", "write a text in one line", "number" if verbatim else "integer")


def named(expression: str, rule: str, longest: int, *, verbatim: bool = False) -> Fragment:
    """Return a fragment of a name; ``rule`` is what people know its expression as."""
    if not re.fullmatch(expression, "10"):
        return pattern(rf"(?=.{{1,{longest}}}$)(?:{expression})", rule)
    least = 0 if re.fullmatch(expression, "5") else 10
    number = "number" if verbatim else "integer"
    return pattern(rf"(?=.{{1,{longest}}}$)(?:{expression})", rule, number, minimum=least)


def identifier() -> Fragment:
    """Return a fragment of a name inside PostgreSQL."""
    return one_line(longest=LONGEST_IDENTIFIER)


def boolean() -> Fragment:
    """Return a fragment of ``true`` or ``false``, also as YAML 1.1 writes them."""
    words = "|".join(any_case(each) for each in ("yes", "no", "on", "off", "true", "false"))
    return pattern(words, "write `true` or `false`", "boolean")


def yes() -> Fragment:
    """Return a fragment of a boolean that can only be true."""
    words = "|".join(any_case(each) for each in ("yes", "on", "true"))
    return {"anyOf": [{"enum": [True]}, pattern(words, "it can only be `true`")]}


def number(largest: int) -> Fragment:
    """Return a fragment of a number of things, of which there is at least one."""
    message = f"write a number from 1 to {largest}"
    return pattern(_UP_TO[largest], message, "integer", minimum=1, maximum=largest)


def host_and_port() -> Fragment:
    """Return a fragment of a host of a cluster, with its port where it has one of its own."""
    address, six = rf"{_OCTET}(?:\.{_OCTET}){{3}}", "[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*"
    name = rf"(?![^:]*(?:^|\.)[0-9]+(?::|$)){_LABEL}(?:\.{_LABEL})*"
    one, with_port = f"{name}|{address}|{six}", rf"(?:{name}|{address}):(?:{_PORT})|\[{six}\](?::(?:{_PORT}))?"
    return pattern(f"(?:{one}|{with_port})", "write a host like `db1`, or with its port `db1:5433`", "boolean")


def listed(item: Fragment) -> Fragment:
    """Return a fragment of a list that has nothing twice."""
    return {"type": "array", "items": item, "uniqueItems": True}


def one_or_more(item: Fragment, **more: int) -> Fragment:
    """Return a fragment of a value, or a list of such values, of which a schema says ``more``."""
    return {"anyOf": [item, {"type": "array", "items": item, **more}]}


def encoding() -> Fragment:
    """Return a fragment of an encoding, in any case, with or without its dashes."""
    words = sorted({re.sub(r"[^A-Z0-9]", "", each) for each in ENCODINGS} | {"UNICODE"})
    spelled = "|".join("[^A-Za-z0-9]*".join(any_case(each) for each in word) for word in words)
    loose = pattern(f"[^A-Za-z0-9]*(?:{spelled})[^A-Za-z0-9]*", "write an encoding like `UTF8`")
    return {"anyOf": [{"enum": list(ENCODINGS)}, loose]}


def template(names: tuple[str, ...]) -> Fragment:
    """Return a fragment of a text in which some names in braces have a meaning."""
    known = "|".join(names)
    unknown = rf"\{{(?!(?:{known})\}})[A-Za-z_]+\}}"
    message = f"the names in braces are {', '.join(names)}"
    whole = rf"^(?![^]*(?:^|[^{{]){unknown})|{VARIABLE}"
    return {"type": _SCALAR, "pattern": whole.replace("[^]", r"[\s\S]"), "patternErrorMessage": message}


def tenants() -> Fragment:
    """Return a fragment of a list of names, or of the query that says them."""
    query = {"type": _SCALAR, "minLength": 1}
    asked = {"type": "object", "properties": {"query": query}, "required": ["query"], "additionalProperties": False}
    return {"anyOf": [{**listed(identifier()), "minItems": 1}, asked]}


def privileges() -> Fragment:
    """Return a fragment of a list of privileges, or one of the two words."""
    known = {" ".join(each.split()) for words in PRIVILEGES.values() for each in words} | {"ALL", "TEMP"}
    names = sorted({each.lower() for each in known})
    spelled = "|".join(r"[\s_]+".join(map(any_case, each.split())) for each in [*names, "all privileges"])
    loose = pattern(rf"[\s_]*(?:{spelled})[\s_]*", "write a privilege like `select`")
    one = pattern(f"{any_case('all')}|{any_case('none')}", "write a list of privileges, `all` or `none`", "array")
    items = {"anyOf": [{"enum": names}, loose]}
    return {**one, "items": items, "minItems": 1, "uniqueItems": True, "examples": ["all", "none"]}


def section(name: str) -> Fragment:
    """Return a reference to a section of the spec."""
    return {"$ref": f"#/definitions/{name}"}


def by_name(item: Fragment) -> Fragment:
    """Return a fragment of a mapping of names to things of one kind."""
    return {"type": ["object", "null"], "additionalProperties": item}


def trees() -> Fragment:
    """Return a fragment of one tree of migrations, or a list of them; of several, each has a name."""
    several = {"if": {"minItems": 2}, "then": {"items": {"type": "object", "required": ["name"]}}}
    return {"anyOf": [section("migrations"), {"type": "array", "items": section("migrations"), **several}]}


def _password(*, lines: bool = False) -> Fragment:
    """Return a fragment of a password, which may have several ``lines``, or of where it comes from."""
    expression = r"[^\u0000]+" if lines else r"[^\u0000\r\n]+"  # what YAML reads as no text is refused
    return {
        "anyOf": [pattern(expression, "write a text, in quotes", "integer"), section("server.credentials.password")]
    }


_IDENTIFIER, _BOOLEAN = identifier(), boolean()
_PATH: Final = pattern(f"(?!~[^/]){_LINE}+", "write a path; `~/` is the home directory", "number")
OF_READERS: Final[dict[str, Fragment]] = {
    "sections.read_version": {"enum": [1, "1"]},
    "sections.env_file": one_or_more(_PATH),
    "sections._templates": _PATH,
    "migrations.migrations": trees(),
    "image.image": pattern(
        _TOO_OLD + _REFERENCE, f"write an image like `postgres:{MAJORS[-2]}`, of {OLDEST} or newer", "boolean"
    ),
    "image.major": pattern(
        "1[4-9]|[2-9][0-9]", f"write a major version from {OLDEST} on", "integer", minimum=OLDEST, maximum=99
    ),
    "engine.read_engine": pattern(PATTERN, f"write one of {FORMS}"),
    "server.max_connections": pattern("-?[0-9]+", "write a whole number, like `200`", "integer"),
    "server.database": _IDENTIFIER,
    "server.initdb": one_or_more(_PATH),
    "server.data": section("server.data"),
    "server.resources": section("server.resources"),
    "connection.direct": section("server.direct"),
    "connection._port_there": pattern(
        _PORT, f"write a number from 1 to {LARGEST_PORT}", "integer", minimum=1, maximum=LARGEST_PORT
    ),
    "server._data_path": _PATH,
    "server._ephemeral": _BOOLEAN,
    "credentials.credentials": section("server.credentials"),
    "credentials.user": _IDENTIFIER,
    "credentials._of_superuser": _password(),
    "credentials._password_file": _PATH,
    "credentials._password_command": {"type": "array", "items": {"type": _SCALAR}, "minItems": 1},
    "credentials._password_generated": yes(),
    "migrations._script_location": _PATH,
    "migrations._target": pattern(
        r"(?![-+][0-9]+$)(?=.{1,255}$)\S+",
        "write `head`, `heads`, `base`, or a revision",
        "number",
        minimum=0,
        examples=["head", "heads", "base"],
    ),
    "migrations._schema": {"anyOf": [_IDENTIFIER, {"type": "null"}]},
    "migrations.named_role": _IDENTIFIER,
    "migrations.url_driver": pattern(_DRIVER, "write a dialect and its driver, for example `postgresql+psycopg`"),
    "migrations.argv": {"type": "array", "items": {"type": _SCALAR}, "minItems": 1},
    "migrations.prepare": pattern(
        rf".+\.py(?::{_FUNCTION})?|{_FUNCTION}:{_FUNCTION}", "write `prepare.py` or `module:function`"
    ),
    "tenants.tenants": section("migrations.tenants"),
    "patroni.patroni": section("server.patroni"),
    "patroni._addresses": one_or_more(pattern(ADDRESS, "write it without a path: `https://db1:8008`"), minItems=1),
    "patroni._password": _password(lines=True),
    "tenants.which": tenants(),
    "tenants._name": _IDENTIFIER,
    "roles._password": _password(lines=True),
    "roles._valid_until": pattern(
        f"never|{_INSTANT}", "write date, time and time zone, like `2027-01-01T00:00:00Z`, or `never`"
    ),
    "roles._groups": listed({"anyOf": [_IDENTIFIER, section("roles.member_of")]}),
    "roles._settings_in": by_name(section("settings-of-sessions")),
    "role_settings.settings": section("settings-of-sessions"),
    "backup.backup": section("backup"),
    "seeds.seeds": {"type": "array", "items": section("seeds")},
    "seeds._files": _PATH,
    "seeds._table": pattern(rf"{_SQL_NAME}(?:\.{_SQL_NAME})?\s*", "write a table as in SQL: `shop.countries`"),
    "seeds._key": {"anyOf": [_IDENTIFIER, listed(_IDENTIFIER)]},
    "databases._encoding": encoding(),
    "databases._access": by_name(choice(ACCESS)),
    "databases._schemas": by_name(section("databases.schemas")),
    "grants._target": section("databases.grants.on"),
    "grants._privileges": privileges(),
    "grants._columns": {**listed(_IDENTIFIER), "minItems": 1},
    "readers.identifier": _IDENTIFIER,
    "readers.boolean": _BOOLEAN,
    "readers.limit": pattern(
        "none|0|[1-9][0-9]{0,9}",
        "write a whole number, or `none` for no limit",
        "integer",
        minimum=0,
        maximum=_LARGEST,
        examples=["none"],
    ),
    "readers.comment": {"type": _SCALAR},
    "readers.port": pattern(
        f"auto|{_PORT}",
        f"write a number from 1 to {LARGEST_PORT}, or `auto`",
        "integer",
        minimum=1,
        maximum=LARGEST_PORT,
        examples=["auto"],
    ),
    "readers.size": pattern(_SIZE, "write a number with `k`, `m`, `g` or `t`, like `512m`"),
    "readers.cpus": pattern(
        r"[0-9]{1,4}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}",
        "write a number like `2` or `0.5`",
        "number",
        minimum=SMALLEST_CPUS,
        maximum=LARGEST_CPUS,
    ),
    "readers.duration": pattern(_TIME, "write a number with `ms`, `s`, `m`, `h` or `d`, like `90s` or `1h30m`"),
    "readers.path": _PATH,
    "readers.existing": _PATH,
    "connection._root": _PATH,
    "readers.host": pattern(
        rf"(?=.{{1,{LONGEST_HOST}}}$)(?:{_HOST})",
        "write an address like `127.0.0.1` or `::1`, or the name of a host",
        "boolean",
    ),
    "several.hosts": {**listed(host_and_port()), "minItems": 1},
    "migrations.attributes": by_name({"anyOf": [{"enum": [True, "connection", "engine"]}, _BOOLEAN]}),
    "sections._templates_may": {"type": "array", "items": choice(TEMPLATES_MAY)},
}
"""What each reader takes that is made with nothing."""
