"""Small pieces of text that every report uses: durations, URLs, and text from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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
