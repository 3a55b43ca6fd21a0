"""Digests: of files, and of values that may be secrets.

A digest of a short secret can be guessed, so values are digested with a key that stays with the user who made the
golden: a random one in the user's cache. With another key, or none, a golden whose code read variables fits nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from provision.errors import ProvisionError
from provision.system import owned
from provision.system.files import without_waiting, write_atomically
from provision.system.variables import cache_home

_DIGITS = 20
"""Of a digest: equal files are what it is about, and a golden has many."""
_made: dict[Path, str] = {}
"""Keys that this process has made and not written yet: looking writes nothing."""


def text(value: Any) -> str:
    """Return the digest of a value that JSON can hold and that is no secret."""
    return _short(hashlib.sha256(_canonical(value)))


def of_bytes(content: bytes) -> str:
    """Return the digest of the content of a file."""
    return _short(hashlib.sha256(content))


def of_file(path: Path) -> str | None:
    """Return the digest of a regular file; None where there is none that we can read."""
    with suppress(OSError), open(path, "rb", buffering=0, opener=without_waiting) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return of_bytes(file.readall())
    return None


def password(name: str) -> str:
    """Return a password that only this user can know: with the key, and what it is for."""
    return hmac.new(_key().encode(), f"password {name}".encode(), hashlib.sha256).hexdigest()


def secret(value: Any) -> str:
    """Return the digest of a value that can be a secret."""
    return _short(hmac.new(_key().encode(), _canonical(value), hashlib.sha256))


def keep_key() -> None:
    """Write the key of this user, if it is a new one; being unable to is no error, and nothing will fit then."""
    path = _path()
    if path in _made and owned.text(path) is None:
        with suppress(ProvisionError):
            write_atomically(path, _made[path], 0o600)


def _key() -> str:
    path = _path()
    found = owned.text(path)
    if found is None or len(found) != _KEY_DIGITS:
        found = _made.setdefault(path, secrets.token_hex(_KEY_DIGITS // 2))
    return found


_KEY_DIGITS = 64


def _path() -> Path:
    return cache_home() / "provision" / "golden.key"


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _short(digest: Any) -> str:
    return str(digest.hexdigest())[:_DIGITS]
