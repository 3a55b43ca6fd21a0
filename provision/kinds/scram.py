"""The SCRAM-SHA-256 verifier that the server would store for a password, so that the password itself stays here.

https://www.postgresql.org/docs/current/catalog-pg-authid.html ; RFC 5802, RFC 7677
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from provision.model import Secret

_ITERATIONS = 4096
_MOST_ITERATIONS = 1_000_000
"""A role can choose how long it takes to compare its verifier, so there is an end."""
_PROHIBITED = ("a1", "c12", "c21_c22", "c3", "c4", "c5", "c6", "c7", "c8", "c9")
"""The tables of RFC 3454 with what a password may not have."""


def verifier(password: Secret, salt: bytes, iterations: int = _ITERATIONS) -> str:
    """Return the verifier for a salt."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password.reveal()).encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = hashlib.sha256(client).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt64}${stored64}:{server64}"


def is_of(stored: str, password: Secret) -> bool:
    """Tell whether a verifier that the server has stored is one of a password."""
    found = re.fullmatch(r"SCRAM-SHA-256\$([0-9]{1,7}):([A-Za-z0-9+/]+={0,2})\$.+", stored)
    if found is None or int(found[1]) > _MOST_ITERATIONS:
        return False
    return hmac.compare_digest(verifier(password, base64.b64decode(found[2]), int(found[1])), stored)


def prepared(text: str) -> str:
    """Return a password as server and libpq prepare it: by SASLprep (RFC 4013), or as it is where that prohibits it.

    They look for prohibited characters before they normalise, not after it as the RFC says.
    https://github.com/postgres/postgres/blob/REL_17_STABLE/src/common/saslprep.c
    """
    if text.isascii():
        return text
    import stringprep as tables
    import unicodedata

    mapped = "".join(
        " " if tables.in_table_c12(each) else each
        for each in text
        if tables.in_table_c12(each) or not tables.in_table_b1(each)
    )
    if not mapped or any(_is_prohibited(each) for each in mapped) or not _is_one_direction(mapped):
        return text
    return unicodedata.normalize("NFKC", mapped)


def _is_prohibited(character: str) -> bool:
    import stringprep as tables

    return any(getattr(tables, f"in_table_{name}")(character) for name in _PROHIBITED)


def _is_one_direction(text: str) -> bool:
    """Tell whether a text reads in one direction only: https://www.rfc-editor.org/rfc/rfc3454#section-6."""
    import stringprep as tables

    if not any(tables.in_table_d1(each) for each in text):
        return True
    ends = tables.in_table_d1(text[0]) and tables.in_table_d1(text[-1])
    return ends and not any(tables.in_table_d2(each) for each in text)
