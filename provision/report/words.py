"""Small pieces of text that every report uses: durations, counts, paths, URLs, effects, and text from elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from provision.model import (
    ChangeDirectory,
    CheckData,
    CompareOutput,
    CopyPath,
    Effect,
    EndSessions,
    EngineCall,
    HoldWrites,
    MakeDirectory,
    Migrate,
    MovePath,
    ReadSettings,
    ReloadSettings,
    RemovePath,
    RunLocalSql,
    RunProgram,
    RunSql,
    Secret,
    ServerCall,
    WaitReady,
    WriteFile,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provision.model import Endpoint, Step

_MINUTE = 60
_EXACT_BELOW = 10
_BIDI: Final = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_UNSAFE: Final = {
    code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(0x7F, 0xA0), *_BIDI) if code != ord("\t")
}


def clean(text: str) -> str:
    """Return one line from elsewhere (a log, a file) without the characters that steer a terminal."""
    return text.rstrip("\r\n").translate(_UNSAFE)


def seconds(value: float) -> str:
    """Return a duration as people read it: ``0.21 s``, ``12.3 s``, ``2 min 05 s``."""
    if value < _EXACT_BELOW:
        return f"{value:.2f} s"
    if value < _MINUTE:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), _MINUTE)
    return f"{minutes} min {rest:02d} s"


def count(number: int, noun: str) -> str:
    """Return ``1 step`` or ``3 steps``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown(path: Path) -> str:
    """Return a path as short as it is unambiguous: relative when it is below the current directory."""
    here, text = os.getcwd(), str(path)  # noqa: PTH109  # a plain string is wanted
    return text[len(here) + 1 :] if here != "/" and text.startswith(f"{here}/") else text


def place(endpoint: Endpoint) -> str:
    """Return ``127.0.0.1:5432``."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{host}:{endpoint.port}"


def url(endpoint: Endpoint, *, whole: bool = False, driver: str | None = None) -> str:
    """Return the connection URL; the password is in it, percent-encoded, only when it shall be ``whole``.

    https://docs.sqlalchemy.org/en/20/core/engines.html#postgresql shows what ``driver`` is for.
    """
    from urllib.parse import quote

    user, database = quote(endpoint.user, safe=""), quote(endpoint.database, safe="")
    password = quote(endpoint.password.reveal(), safe="") if whole else str(endpoint.password)
    host = f"[{quote(endpoint.host, safe=':')}]" if ":" in endpoint.host else quote(endpoint.host, safe="")
    scheme = f"postgresql+{driver}" if driver else "postgresql"
    return f"{scheme}://{user}:{password}@{host}:{endpoint.port}/{database}{_tls(endpoint)}"


def _tls(endpoint: Endpoint) -> str:
    """Return what libpq would not do by itself, as the query of a URL."""
    from urllib.parse import quote

    root = f"&sslrootcert={quote(str(endpoint.sslrootcert))}" if endpoint.sslrootcert else ""
    return f"?sslmode={endpoint.sslmode}{root}" if endpoint.sslmode != "prefer" else ""


def is_foretold(step: Step) -> bool:
    """Tell whether a step only stands for what will be known once the server runs."""
    return not step.effects


def _file_effect(value: ChangeDirectory | WriteFile | MakeDirectory | CopyPath | MovePath | RemovePath) -> str:
    path = shown(value.path)
    if isinstance(value, ChangeDirectory):
        return f"in {value.container}: {value.script} (1: {path})"
    if isinstance(value, CopyPath | MovePath):
        return f"{'copy' if isinstance(value, CopyPath) else 'move'} {shown(value.source)} to {path}"
    if isinstance(value, WriteFile):
        return f"write {path} (secret, {value.mode:04o})" if isinstance(value.content, Secret) else f"write {path}"
    return f"make {path}/" if isinstance(value, MakeDirectory) else f"remove {path}"


def _on_data(value: CheckData | ReadSettings | HoldWrites | EndSessions | RunProgram | CompareOutput) -> str:
    if isinstance(value, CheckData):
        return f"look at the data before {value.container} starts"
    if isinstance(value, ReadSettings):
        return f"read the settings of PostgreSQL {value.major} from {value.image or value.programs}"
    if isinstance(value, HoldWrites):
        return f"let writers wait in {count(len(value.databases), 'database')}"
    if isinstance(value, EndSessions):
        return "end all sessions, of writers first"
    run = value.one if isinstance(value, CompareOutput) else value
    return f"in {run.container}: {run.what}" if run.container is not None else run.what


def effect(value: Effect) -> str:
    """Return one effect in a few words. File contents, scripts and request bodies are not part of them."""
    if isinstance(value, ChangeDirectory | WriteFile | MakeDirectory | CopyPath | MovePath | RemovePath):
        return _file_effect(value)
    if isinstance(value, CheckData | ReadSettings | HoldWrites | EndSessions | RunProgram | CompareOutput):
        return _on_data(value)
    match value:
        case EngineCall(operation=operation, target=target):
            return f"engine: {operation.replace('_', ' ')} {target}"
        case ServerCall(operation=operation, data=data):
            return f"{operation} the server on {shown(data)}"
        case RunSql(database=database, statements=statements):
            return f"SQL in {database}: {count(len(statements), 'statement')}"
        case RunLocalSql(user=user):
            return f"SQL as {user} through the server's local socket"
        case ReloadSettings(expected=expected):
            return f"reload the settings ({', '.join(sorted(expected))})" if expected else "reload the settings"
        case WaitReady(timeout=timeout):
            return f"wait until ready, at most {timeout:g} s"
        case Migrate(name=name, target=target, direction=direction):
            return f"{direction} {name} to {', '.join(target) or 'base'}"


def effects(value: Effect) -> Iterator[str]:
    """Yield one effect in a few words, and for a migration each revision with its file."""
    yield effect(value)
    if isinstance(value, Migrate):
        for name, path in value.revisions:
            yield f"{value.direction} {name}: {shown(path)}"
