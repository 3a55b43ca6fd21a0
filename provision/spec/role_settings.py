"""Settings of a role or a database (``ALTER ROLE … SET``, ``ALTER DATABASE … SET``).

A list is kept element by element: ``search_path = 'a, b'`` is one schema there, whose name has a comma in it.
https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-SQL
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from provision.spec.masking import is_secret_word
from provision.spec.parameters import canonical_name, catalogue, check, check_name
from provision.spec.reading import Reading, Wrong, attempt, failed, mapping, scalar
from provision.spec.setting_values import is_list, list_items
from provision.spec.settings import refuse_secret
from provision.spec.yaml import Node, Scalar, Sequence

Value = tuple[str, ...] | None

ROLE = "role"
"""What sessions are set to. It is no row of ``pg_settings``."""
OURS = "provision."
"""Settings that provision keeps notes in."""
_EMPTY = ("",)
"""What PostgreSQL keeps of a list without elements."""
SETTABLE = ("user", "superuser")
"""The values of ``pg_settings.context`` of what a session can change."""
# GUC_LIST_QUOTE in guc_tables.c: each element is a name. The elements of other lists are words, joined with commas.
NAMES = frozenset({"local_preload_libraries", "search_path", "session_preload_libraries", "temp_tablespaces"})


def settings(major: int) -> Callable[[Node, Reading], Mapping[str, Value]]:
    """Return a reader of settings by name; the value None is ``default``, which takes away what was set."""

    def read(node: Node, reading: Reading) -> Mapping[str, Value]:
        found: dict[str, Value] = {}
        first: dict[str, Scalar] = {}
        for key, node_ in mapping(node, "`statement_timeout: 5min` and the like below it").entries.values():
            if reading.secret and is_secret_word(key, node_):
                reading.report(key.mark, "unknown setting")
                continue
            name = ROLE if key.text.casefold() == ROLE else canonical_name(major, key.text)
            if name in first:
                message = f"the same setting as in {reading.line(first[name].mark, key.mark)}; case does not matter"
                reading.report(key.mark, message, "keep one of the two")
                continue
            first[name] = key
            value = attempt(partial(_value, key=key, name=name, major=major), node_, reading, key=key.text)
            if not failed(value):
                found[name] = value
        return found

    return read


def _value(node: Node, reading: Reading, *, key: Scalar, name: str, major: int) -> Value:
    _check_name(name, key, major)
    if isinstance(node, Sequence):
        texts = [_text(each, reading, name) for each in node.items]
        return _list(node, texts, name)
    text = _text(node, reading, name)
    if text == "default":
        return None
    if name == ROLE:
        if text != "none":
            reading.mention("role", text, scalar(node, "a role"), "settings.role")
        return (text,)
    if is_list(name):
        return _split(scalar(node, "a text"), text, reading, name)
    if wrong := check(major, name, text, shown=reading.show(scalar(node, "a text or a number"))):
        raise Wrong(wrong.message, wrong.suggestion)
    return (text,)


def _check_name(name: str, key: Scalar, major: int) -> None:
    if name.casefold().startswith(OURS):
        raise Wrong(f"names that begin with `{OURS}` are for provision's own notes", "write another name", at=key)
    if name == ROLE:
        return
    if wrong := check_name(major, name):
        raise Wrong(wrong.message, wrong.suggestion, at=key)
    parameter = catalogue(major).get(name)
    if parameter is not None and parameter.context not in SETTABLE:
        raise Wrong("it is a setting of the whole server", "write it below `server.settings`", at=key)


def _text(node: Node, reading: Reading, name: str) -> str:
    found, value = reading.scalar(node, "a text or a number")
    refuse_secret(found, reading, name, value)
    if "\0" in value:
        raise Wrong("the value has a NUL in it", at=node)
    return value


def _list(node: Sequence, texts: list[str], name: str) -> Value:
    if not is_list(name):
        raise Wrong("this is a list, and the setting takes one value", "write the value itself")
    for item, text in zip(node.items, texts, strict=True):
        if name in NAMES and len(text) > 1 and text[0] == text[-1] == '"':
            raise Wrong("each item is a name as it is, without SQL's quotes", "remove the double quotes", at=item)
    return _elements(texts, name)


def _split(node: Scalar, text: str, reading: Reading, name: str) -> Value:
    items = list_items(text)
    if items is None:
        raise Wrong(f"{reading.show(node)} is not a list", "write a list: `[a, b]`")
    if name in NAMES and len(items) > 1:
        example = ", ".join(items) if text == node.text else "a, b"  # the value of a variable is not repeated
        raise Wrong(f"{reading.show(node)} is one name to PostgreSQL here", f"write a list: `[{example}]`")
    return _elements(items, name)


def _elements(items: list[str], name: str) -> Value:
    if name.endswith("_preload_libraries") and not all(items or [""]):
        raise Wrong("a library without a name would end every session", "write `default`")
    return tuple(items) or _EMPTY
