"""Templates → text. Strict: a template that names what does not exist is an error with its line.

Jinja is imported only when something has to be rendered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePath, PurePosixPath
from typing import Any, Final

from provision.errors import ProvisionError, command
from provision.kinds.configuration import content, quote as quote_setting
from provision.kinds.database import first as first_database
from provision.model.value import fields, is_dataclass, replace
from provision.spec.model import Ephemeral, Spec
from provision.spec.passwords import PasswordGenerated

LARGEST: Final = 4 * 1024 * 1024
"""Characters of one rendered file."""


def values(spec: Spec, port: int) -> dict[str, object]:
    """Return what the templates of every runtime can name."""
    server = {
        **_data(replace(spec.server, password=PasswordGenerated())),
        "max_connections": spec.server.max_connections,
    }
    return {
        "name": spec.name,
        "directory": str(spec.kept_in),
        "server": server,
        "port": port,
        "first_database": first_database(spec),
        "settings": content(spec),
        "ephemeral": isinstance(spec.server.data, Ephemeral),
    }


def render_template(name: str, texts: Mapping[str, str], values: Mapping[str, Any]) -> str:
    """Render one of ``texts`` with ``values``; a template may include and extend the others.

    It is rendered in Jinja's sandbox, and sees data only: no method of a value reaches a file.

    Raises:
        ProvisionError: the template is wrong, with its line.
    """
    import jinja2.sandbox

    environment = jinja2.sandbox.SandboxedEnvironment(
        loader=jinja2.DictLoader(dict(texts)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # YAML and PostgreSQL's configuration, not HTML; the filters quote
    )
    environment.filters |= {"quote": quote, "conf": quote_setting, "seconds": _seconds}
    try:
        return _joined(environment.get_template(name).generate(_data(values)))
    except MemoryError:
        raise
    except Exception as error:  # a template can do anything wrong that an expression of Python can
        why = getattr(error, "message", None) or str(error) or type(error).__name__
        raise ProvisionError(
            f"the template {name} cannot be rendered: {why}",
            evidence=[f"{name}:{_line(error)}"],
            next_step="correct the template, then: " + command("render"),
        ) from error


def _joined(parts: Iterable[str]) -> str:
    found, size = [], 0
    for part in parts:
        size += len(part)
        if size > LARGEST:
            message = f"it makes more than {LARGEST >> 20} MiB of text"
            raise ValueError(message)
        found.append(part)
    text = "".join(found)
    text.encode()  # half of a surrogate pair is an error here: it cannot be written to a file
    return text


def _data(value: Any) -> Any:
    """Return a value of which a template can do nothing but read it."""
    if is_dataclass(value):
        return {each.name: _data(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key: _data(each) for key, each in value.items()}
    return PurePosixPath(value) if isinstance(value, PurePath) else value


def quote(value: object) -> str:
    r"""Quote a text for YAML, and keep Compose from expanding a ``$``.

    >>> quote('pa$$"word')
    '"pa$$$$\\"word"'
    """
    return json.dumps(str(value), ensure_ascii=False).replace("$", "$$").replace("\x7f", "\\x7f")


def _seconds(value: float) -> str:
    return f"{round(value * 1000)}ms" if value % 1 else f"{value:.0f}s"


def _line(error: BaseException) -> int:
    line: int | None = getattr(error, "lineno", None)
    if line is not None:
        return line
    traceback = error.__traceback__
    found = 1
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            found = traceback.tb_lineno
        traceback = traceback.tb_next
    return found
