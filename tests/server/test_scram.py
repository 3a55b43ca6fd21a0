"""The verifier that we compute is the one that the server stores for the same password, and libpq logs in with it."""

from __future__ import annotations

import base64
import stringprep
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import psycopg2
import pytest

from provision.kinds.scram import prepared, verifier
from provision.model import Secret
from provision.model.sql import literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

GIVEN = {
    "soft\u00adhyphen": "softhyphen",
    "zero\u200bwidth": "zero width",
    "join\u200der": "joiner",
    "ogham\u1680space": "ogham space",
    "no\u00a0break": "no break",
    "\u2168": "IX",
    "\uff21wide": "Awide",
    "bell\u0007\u2168": "bell\u0007\u2168",
    "\u0627\u2168": "\u0627\u2168",
    "\u00ad": "\u00ad",
    "plain ascii": "plain ascii",
    "it's \\ quoted": "it's \\ quoted",
}
TABLES = ("a1", "b1", "c12", "c21_c22", "c3", "c4", "c6", "c7", "c8", "c9", "d1", "d2")
PLANES = (range(0x80, 0xD800), range(0xE000, 0x1F000), range(0x2F800, 0x2FB00), range(0xE0000, 0xE0100))
STORED = """
CREATE FUNCTION pg_temp.stored(password text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
    EXECUTE format('ALTER ROLE probe PASSWORD %L', password);
    SELECT rolpassword INTO found FROM pg_authid WHERE rolname = 'probe';
    RETURN found;
END $$
"""


@pytest.fixture
def probe(server: Server) -> Iterator[str]:
    """A role that may log in."""
    server.execute("CREATE ROLE probe LOGIN")
    yield "probe"
    server.execute("DROP ROLE probe")


def edges() -> list[str]:
    """Return the first and last code point of each range of RFC 3454's tables, as Python has them."""
    found = {"\U0010fffd", "\U0010ffff"}
    tables = [getattr(stringprep, f"in_table_{each}") for each in TABLES]
    for plane in PLANES:
        kinds = ((chr(code), tuple(table(chr(code)) for table in tables)) for code in plane)
        for (last, one), (first, other) in pairwise(kinds):
            if one != other:
                found |= {last, first}
    return sorted(found)


@pytest.mark.parametrize("given", GIVEN, ids=ascii)
def test_libpq_logs_in_with_what_the_spec_says(server: Server, probe: str, given: str) -> None:
    assert prepared(given) == GIVEN[given]
    server.execute(f"ALTER ROLE {probe} PASSWORD {literal(verifier(Secret(given), b'0123456789abcdef'))}")
    at = server.endpoint
    with closing(
        psycopg2.connect(host=at.host, port=at.port, user=probe, password=given, dbname="postgres")
    ) as connection:
        assert connection.info.user == probe


@pytest.mark.usefixtures("probe")
def test_the_server_prepares_every_kind_of_character_as_we_do(server: Server) -> None:
    """Each is followed by one that normalisation changes, and is in, before and after text that reads to the left."""
    texts = [text for each in edges() for text in (f"{each}\u2168", f"\u05d0\u2460{each}\u05d0", f"{each}\u2460\u05d0")]
    assert len(texts) > 3000
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET scram_iterations = 1; {STORED}")
        cursor.execute("SELECT text, pg_temp.stored(text) FROM unnest(%s) AS text", (texts,))
        rows = cursor.fetchall()
    assert len(rows) == len(texts)
    salted = ((text, found, base64.b64decode(found.partition(":")[2].partition("$")[0])) for text, found in rows)
    assert [ascii(text) for text, found, salt in salted if verifier(Secret(text), salt, 1) != found] == []
