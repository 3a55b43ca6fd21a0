"""Settings of a role or a database (``ALTER ROLE … SET``, ``ALTER DATABASE … SET``).

https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-SQL
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provision.spec.parameters import canonical_name, catalogue, check, check_name
from provision.spec.reading import Mention, Wrong, attempt, failed, mapping, scalar
from provision.spec.setting_values import is_list, list_items
from provision.spec.settings import refuse_secret
from provision.spec.yaml import Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provision.spec.reading import Reading
    from provision.spec.yaml import Node

    Value = tuple[str, ...] | None

ROLE = "role"
"""The one setting that is not in ``pg_settings`` and that people set: what sessions are then."""
OURS = "provision."
_SETTABLE = ("user", "superuser")


def settings(major: int) -> Callable[[Node, Reading], Mapping[str, Value]]:
    """Return a reader of settings; None is ``default``: what was set is taken away."""

    def read(node: Node, reading: Reading) -> Mapping[str, Value]:
        found: dict[str, Value] = {}
        lines: dict[str, Scalar] = {}
        for key, value in mapping(node, "`statement_timeout: 5min` and the like below it").entries.values():
            name = canonical_name(major, key.text)
            name = ROLE if name.casefold() == ROLE else name
            if name in lines:
                message = f"the same setting as in line {lines[name].mark.line}; case does not matter"
                reading.report(key.mark, message, "keep one of the two")
                continue
            lines[name] = key
            read_ = attempt(partial(_setting, key=key, name=name, major=major), value, reading, key=key.text)
            if not failed(read_):
                found[name] = read_
        return found

    return read


def _setting(node: Node, reading: Reading, *, key: Scalar, name: str, major: int) -> Value:
    _check_name(name, key, major)
    items = node.items if isinstance(node, Sequence) else (node,)
    texts = [_text(each, reading, name) for each in items]
    if not isinstance(node, Sequence) and texts == ["default"]:
        return None
    if name == ROLE:
        reading.mentions.append(Mention("role", texts[0], node.mark, "settings.role"))
        return (texts[0],)
    return _elements(node, reading, name, texts, major)


def _check_name(name: str, key: Scalar, major: int) -> None:
    if name.startswith(OURS):
        raise Wrong(f"names that begin with `{OURS}` are provision's own", "write another name", at=key)
    if name == ROLE:
        return
    if wrong := check_name(major, name):
        raise Wrong(wrong.message, wrong.suggestion, at=key)
    parameter = catalogue(major).get(name)
    if parameter is not None and parameter.context not in _SETTABLE:
        raise Wrong("this setting is the server's as a whole", "write it below `server.settings`", at=key)


def _text(node: Node, reading: Reading, name: str) -> str:
    found = scalar(node, "a text or a number")
    value = reading.text(found)
    refuse_secret(found, reading, name, value)
    if "\0" in value:
        raise Wrong("the value has a NUL in it", at=node)
    return value


def _elements(node: Node, reading: Reading, name: str, texts: list[str], major: int) -> Value:
    if not is_list(name):
        if isinstance(node, Sequence):
            raise Wrong("this is a list, and the setting takes one value", "write the value itself")
        if wrong := check(major, name, texts[0], shown=reading.show(scalar(node, "a text or a number"))):
            raise Wrong(wrong.message, wrong.suggestion)
        return (texts[0],)
    if isinstance(node, Sequence):
        return tuple(texts)
    items = list_items(texts[0])
    return tuple(items) if items is not None else (texts[0],)
