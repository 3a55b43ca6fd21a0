"""Backups: dumps that are proved, restored beside, and put in place; a broken one changes nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support.kept import an_applied, kept

from provision.system.client_programs import choose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

ROOT = Path(__file__).parents[2]
SERVERS = [
    pytest.param(("docker", 16), id="docker-16", marks=pytest.mark.docker),
    pytest.param(("embedded", 18), id="embedded-18", marks=pytest.mark.server),
]
CONTENTS = r"""
CREATE EXTENSION citext;
CREATE SCHEMA "a ""b' c";
CREATE TABLE "a ""b' c"."ta ble" (id int GENERATED ALWAYS AS IDENTITY, t citext DEFAULT 'x', b bytea);
INSERT INTO "a ""b' c"."ta ble" (b) SELECT decode(repeat(md5(g::text), 4), 'hex') FROM generate_series(1, 5000) AS g;
CREATE TABLE parted (a int, CHECK (a > 0)) PARTITION BY LIST (a);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
INSERT INTO parted VALUES (1);
CREATE MATERIALIZED VIEW viewed AS SELECT count(*) FROM parted;
CREATE ROLE "o'ther";
CREATE ROLE clerk;
ALTER TABLE parted_1 OWNER TO "o'ther";
GRANT SELECT (a) ON parted TO clerk WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO clerk;
SELECT lo_from_bytea(4711, 'large');
COMMENT ON LARGE OBJECT 4711 IS 'one';
ALTER DATABASE shop OWNER TO "o'ther";
COMMENT ON DATABASE shop IS 'it''s mine';
ALTER DATABASE shop CONNECTION LIMIT 40;
ALTER DATABASE shop SET search_path = 'a b', "$user", public;
ALTER ROLE clerk IN DATABASE shop SET work_mem = '5MB';
REVOKE TEMPORARY ON DATABASE shop FROM PUBLIC;
"""


@pytest.fixture(scope="module", params=SERVERS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    with an_applied(request, *request.param) as made:
        made.superuser(CONTENTS)
        yield made


def everything(environment: Environment, database: str = "shop") -> str:
    """Return all of a database as another program writes it, with what belongs to the database itself."""
    argv = (
        str(choose(18) / "pg_dump"),
        "--create",
        "--restrict-key=x",
        "--exclude-schema=provision",  # the history has the restore
        environment.run("url", "--superuser").out.strip(),
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert database in done.stdout
    return "\n".join([line for line in done.stdout.splitlines() if not line.startswith("--")])


def document(environment: Environment, name: str, *words: str) -> Any:
    """Return the JSON of a command, which is as its schema says."""
    found = environment.run("backup", *words, "--json").json()
    jsonschema.validate(found, json.loads((ROOT / "docs" / "schema" / f"{name}.json").read_text()))
    return found


def make(environment: Environment, *words: str) -> Path:
    """Make a backup, and return its file."""
    (found,) = document(environment, "backup", "make", *words)["backups"]
    return Path(found["file"])


def test_all_of_a_database_comes_back(environment: Environment) -> None:
    before = everything(environment)
    file = make(environment)
    assert [(each.name, each.stat().st_mode & 0o777) for each in sorted(file.parent.iterdir())] == [
        (file.name, 0o600), (file.with_suffix(".json").name, 0o600),
    ]  # fmt: skip
    assert file.name.startswith("shop-2")
    assert file.name.endswith("Z-r2.dump")
    assert "SCRAM" not in file.with_suffix(".json").read_text()
    environment.superuser('DROP SCHEMA "a ""b\' c" CASCADE; DROP TABLE parted CASCADE; SELECT lo_unlink(4711)')
    environment.superuser("COMMENT ON DATABASE shop IS NULL; ALTER DATABASE shop RESET ALL; DROP OWNED BY clerk")
    environment.superuser("DROP ROLE clerk")
    assert everything(environment) != before
    refused = environment.run("backup", "restore", file.name, code=64)
    assert "the data of" in refused.err
    note = file.with_suffix(".json")
    about = json.loads(note.read_text())
    note.write_text(json.dumps({**about, "settings": [*about["settings"], [None, "no_such_setting", "Tr0ub4dor&3"]]}))
    ran = environment.run("backup", "restore", file.name, "--yes")
    assert "the server refused a setting of the database shop: no_such_setting" in ran.all
    assert "Tr0ub4dor" not in ran.all
    assert "role/clerk" in ran.all
    assert environment.superuser("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'clerk'") == [(False,)]
    environment.superuser("ALTER ROLE clerk IN DATABASE shop SET work_mem = '5MB'")
    assert everything(environment) == before
    assert len(kept(environment)) == 1  # what was replaced
    environment.settled()
    environment.run("snapshot", "undo")
    assert environment.superuser("SELECT to_regclass('parted')") == [(None,)]
    environment.run("backup", "restore", str(file), "--yes")
    (listed,) = files(environment)
    assert (listed["database"], listed["revisions"], listed["before"]) == ("shop", {"alembic": ["r2"]}, None)
    environment.run("backup", "rm", file.name)
    assert list(file.parent.iterdir()) == []


def test_a_broken_backup_changes_nothing(environment: Environment, tmp_path: Path) -> None:
    file = make(environment)
    whole, note = file.read_bytes(), json.loads(file.with_suffix(".json").read_text())
    flipped = bytearray(whole)
    for at in range(4):
        flipped[len(whole) // 2 + at * 100] ^= 0xFF
    environment.superuser("INSERT INTO canary VALUES (77)")
    before = kept(environment)
    for name, content, why in (
        ("cut", whole[: len(whole) * 6 // 10], "end of file"),
        ("flipped", bytes(flipped), "pg_restore: error"),
        ("noted", bytes(flipped), "SHA-256"),
        ("other", whole[:-1], f"had {len(whole)} when it was written"),
    ):
        broken = tmp_path / f"{name}.dump"
        broken.write_bytes(content)
        if name in ("noted", "other"):
            broken.with_suffix(".json").write_text(json.dumps(note))
        ran = environment.run("backup", "restore", "--yes", str(broken), code=1)
        assert f"{name}.dump is not a whole backup, so nothing was changed" in ran.err
        assert why in ran.err
    assert kept(environment) == before
    assert environment.superuser("SELECT count(*) FROM canary WHERE n = 77") == [(1,)]
    moved = tmp_path / "moved.dump"  # with no note beside it: of which database, and at which revision
    moved.write_bytes(whole)
    environment.run("backup", "restore", "--yes", str(moved))
    assert environment.superuser("SELECT count(*) FROM canary WHERE n = 77") == [(0,)]
    note["revisions"] = {name: ["r1"] for name in note["revisions"]}
    moved.with_suffix(".json").write_text(json.dumps(note))
    before = kept(environment)
    assert "is at another revision" in environment.run("backup", "restore", "--yes", str(moved), code=1).err
    assert kept(environment) == before


def test_a_backup_elsewhere_is_ignored_by_git(environment: Environment, tmp_path: Path) -> None:
    subprocess.run(("git", "init", "-q", str(tmp_path)), check=True)
    seen = environment.run("backup", "make", "-o", str(tmp_path / "a.dump"), code=1)
    assert f"Git does not ignore {tmp_path / 'a.dump'}" in seen.err
    (tmp_path / ".gitignore").write_text("*.dump\n*.json\n")
    assert make(environment, "-o", str(tmp_path / "a.dump")).stat().st_mode & 0o777 == 0o600
    assert "is there already" in environment.run("backup", "make", "-o", str(tmp_path / "a.dump"), code=64).err


def revision(environment: Environment, number: int, up: str) -> None:
    versions = environment.directory / "migrations" / "versions"
    text = (versions / "r2.py").read_text().replace('"r2"', f'"r{number}"').replace("'r1'", f"'r{number - 1}'")
    head = text.split("def upgrade")[0]
    body = f'def upgrade():\n    op.execute("{up}")\n\n\ndef downgrade():\n    op.execute("SELECT 1")\n'
    (versions / f"r{number}.py").write_text(head + body)


def files(environment: Environment) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document(environment, "backups", "list")["backups"]
    return found


def test_one_is_made_before_data_is_lost(environment: Environment) -> None:
    environment.declare(backup={"before": ["downgrade", "destructive"], "keep": 2})
    mine = make(environment)
    revision(environment, 3, "CREATE TABLE third (a int, b int)")
    assert environment.actions() == [each for each in environment.actions() if "backup" not in each]
    environment.apply()
    revision(environment, 4, "ALTER TABLE third DROP COLUMN nope")
    assert environment.actions()[0] == "create backup/shop"
    failed = environment.run("apply", code=1)
    (first, *_) = files(environment)
    assert first["before"] == "r4, which destroys data"
    assert f"to go back: provision backup restore spec.yml {Path(first['file']).name}" in failed.err
    revision(environment, 4, "ALTER TABLE third DROP COLUMN b")
    done = environment.apply()
    assert f"provision backup restore spec.yml {Path(files(environment)[0]['file']).name}" in done.all
    environment.run("migrate", "downgrade", "r3", "--yes")
    found = files(environment)
    before = [each["before"] for each in found if each["before"]]
    assert before == ["a downgrade: undo r4", "r4, which destroys data"], "the newest two of these"
    assert str(mine) in [each["file"] for each in found]
    assert next(iter(found[0]["revisions"].values())) == ["r4"]


def test_the_backups_outlive_the_data(environment: Environment) -> None:
    shown = environment.run("destroy", "--data", code=64)
    assert "create    backup/shop" in shown.err
    ran = environment.run("destroy", "--data", "--yes")
    assert "the backups in it stay" in ran.all
    assert "nothing to destroy" in environment.run("destroy", "--data", "--yes").all
    assert sorted(each.name for each in environment.home.iterdir()) == [".gitignore", "backups"]
    (newest, *_) = files(environment)
    assert newest["before"] == "the data is destroyed"
    environment.apply()
    environment.superuser("CREATE ROLE clerk")
    environment.run("backup", "restore", newest["file"], "--yes")
    assert environment.superuser("SELECT count(*) FROM viewed") == [(1,)]


def test_a_backup_that_cannot_be_made_first_is_said(environment: Environment) -> None:
    environment.declare(backup={"before": ["destructive"]})
    environment.run("stop")
    left_out = "no backup of shop is made first, because no server runs; to have one: provision start spec.yml"
    assert left_out in environment.run("destroy", "--data", code=64).err
    assert left_out not in environment.run("destroy").all
    assert left_out in environment.run("destroy", "--data", "--yes").all
