"""``server.initdb`` without Docker: SQL on a data directory that counts only once all of it has run."""

from __future__ import annotations

import gzip
import lzma
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.embedded import Embedded

pytestmark = pytest.mark.server


def test_sql_runs_once_and_a_failure_leaves_nothing(environment: Embedded) -> None:
    scripts = environment.directory
    (scripts / "1.sql").write_text("CREATE TABLE readings (name text);\nCREATE ROLE initdb_reader;\n")
    (scripts / "2.sql.gz").write_bytes(gzip.compress(b"COPY readings FROM stdin;\none\n\\.\n"))
    (scripts / "3.sql.xz").write_bytes(lzma.compress(b"INSERT INTO reading VALUES ('two');\n"))
    environment.server(database="my-app", initdb=["1.sql", "2.sql.gz", "3.sql.xz"])
    failed = environment.run("apply", code=1).err
    assert f"{scripts / '3.sql.xz'} failed, so no data directory was made" in failed
    assert '3.sql.xz:1: ERROR:  relation "reading" does not exist' in failed
    (scripts / "3.sql.xz").write_bytes(lzma.compress(b"INSERT INTO readings VALUES ('two');\n"))
    environment.apply()
    assert environment.query("SELECT name FROM readings ORDER BY name") == [("one",), ("two",)]
    environment.settled()
    (scripts / "1.sql").write_text("CREATE TABEL;\n")
    environment.run("restart")
    environment.settled()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("roles.sh", b"touch /tmp/never\n", "set `runtime: docker`"),
        ("rows.sql.gz", b"no archive\n", "rows.sql.gz failed, so no data directory was made"),
    ],
)
def test_what_is_not_sql_is_refused(environment: Embedded, name: str, content: bytes, said: str) -> None:
    (environment.directory / name).write_bytes(content)
    environment.server(initdb=name)
    assert said in environment.run("apply", code=1).err
    assert environment.run("status", code=None).out.count("absent")
