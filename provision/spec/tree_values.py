"""Readers of the values that only ``migrations`` has: templates by name, attributes, a program and its arguments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provision.alembic.child.fill import NAMES, unknown
from provision.model import Secret
from provision.spec.readers import boolean, existing, text
from provision.spec.reading import Wrong, attempt, failed, listed, mapping, nearest, scalar, shorten
from provision.spec.yaml import Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.spec.reading import Reading
    from provision.spec.yaml import Node

PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[\w./-]+(:[\w./-]+)*")
"""A place inside a Python package, as Alembic writes it: ``app.db:migrations``."""

_FUNCTION = re.compile(r"(?P<place>.+):(?P<function>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_ENVIRONMENT = re.compile(r"\$\$|\$\{[^}]*\}")
_DRIVER = re.compile(r"postgres(ql)?(\+[a-z0-9_]+)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTION = re.compile(r"[^\s=:#;\[][^\s=:]*")


def templates(kind: str, example: str, pattern: re.Pattern[str]) -> Callable[[Node, Reading], dict[str, Secret]]:
    """Return a reader of a mapping of names to texts in which ``{url}`` and the like can stand."""

    def read(node: Node, reading: Reading) -> dict[str, Secret]:
        found: dict[str, Secret] = {}
        for name, (key, value) in mapping(node, f"`{example}`").entries.items():
            if not pattern.fullmatch(name):
                reading.report(key.mark, f"`{shorten(name)}` cannot be the name of {kind}", f"for example `{example}`")
                continue
            template = attempt(_template, value, reading, key=name)
            if not failed(template):
                found[name] = template
        return found

    return read


options = templates("an option", "{url: '{url}'}", _OPTION)
environment = templates("an environment variable", "{DATABASE_URL: '{url}'}", _VARIABLE)
x_arguments = templates("an argument of `-x`", "{tenant: acme}", _OPTION)


def _template(node: Node, reading: Reading) -> Secret:
    found = scalar(node, "a text")
    value = reading.given_text(found)
    if "\0" in value:
        raise Wrong("the text has a NUL in it")
    for name in unknown(_ENVIRONMENT.sub("", found.text)):
        meant = nearest(name, NAMES)
        advice = f"did you mean `{{{meant}}}`?" if meant else f"the names are {listed(NAMES)}"
        raise Wrong(f"`{{{shorten(name)}}}` stands for nothing", f"{advice} (`{{{{…}}}}` is the text itself)")
    return Secret(value)


def attributes(node: Node, reading: Reading) -> dict[str, str]:
    """Read which live objects ``env.py`` finds in ``config.attributes``, and under which names."""
    example = "`{connection: true}`"
    found: dict[str, str] = {}
    for name, (_key, value) in mapping(node, example).entries.items():
        kind = attempt(_attribute, value, reading, key=name)
        if not failed(kind) and kind is not None:
            found[name] = "engine" if kind == "true" and name == "engine" else kind.replace("true", "connection")
    return found


def _attribute(node: Node, reading: Reading) -> str | None:
    word = reading.text(scalar(node, "`true`, `connection` or `engine`"))
    if word in ("connection", "engine"):
        return word
    try:
        return "true" if boolean(node, reading) else None
    except Wrong:
        shown = reading.show(scalar(node, ""))
        raise Wrong(f"{shown} cannot be handed in", "write `true`, `connection` or `engine`") from None


def url_driver(node: Node, reading: Reading) -> str:
    """Read how the URL begins: SQLAlchemy's name of the dialect, with a driver or without."""
    value = text("a dialect and its driver", "postgresql+psycopg")(node, reading)
    if _DRIVER.fullmatch(value):
        return value
    shown = reading.show(scalar(node, ""))
    if re.fullmatch(r"[a-z0-9_]+", value):
        raise Wrong(f"{shown} is no dialect and driver", f"write `postgresql+{value}`" if "$" not in shown else None)
    raise Wrong(f"{shown} is no dialect and driver", "for example `postgresql+psycopg`, `postgresql+asyncpg`")


def prepare(node: Node, reading: Reading) -> str:
    """Read what runs before ``env.py``: a file of Python, a function in one, or a function of a module."""
    written = scalar(node, "`prepare.py` or `module:function`")
    match = _FUNCTION.fullmatch(written.text)
    place, function = (match["place"], match["function"]) if match else (written.text, None)
    if not place.endswith(".py"):
        if function and _MODULE.fullmatch(place):
            return written.text
        shown = reading.show(written)
        raise Wrong(f"{shown} is neither a file of Python nor a function", "write `prepare.py` or `module:function`")
    file = existing("`prepare`", directory=False)(written._replace(text=place), reading)
    return f"{file}:{function}" if function else str(file)


def argv(node: Node, reading: Reading) -> tuple[str, ...]:
    """Read a program and its arguments."""
    if not isinstance(node, Sequence) or not node.items:
        raise Wrong("it must be a list: the program, then its arguments", "for example `[app, db, upgrade]`")
    found = [attempt(_argument, item, reading) for item in node.items]
    return tuple(each for each in found if not failed(each))


def _argument(node: Node, reading: Reading) -> str:
    if isinstance(node, Scalar) and node.is_null:
        raise Wrong("an argument is missing", 'an empty one is `""`')
    value: Any = reading.given_text(scalar(node, "a text"))
    if "\0" in value:
        raise Wrong("an argument cannot have a NUL in it")
    return str(value)
