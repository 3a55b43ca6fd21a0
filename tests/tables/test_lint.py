"""What is decided about revisions without a database: comments, squawk's answers, locks, schemas that differ."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from provision.alembic.child.catalogue import differences
from provision.alembic.child.rehearse import shared
from provision.alembic.tree.source import read_notes
from provision.alembic.verbs.laws import sentences
from provision.alembic.verbs.lint import Finding, SquawkInput, findings
from provision.alembic.verbs.sql import COMMIT, Statement, statements
from provision.alembic.verbs.trace import Lock, Table, Traced, consequences

FILE = Path("versions/b.py")
SOURCE = textwrap.dedent(
    '''
    """a docstring: # provision: ignore not-a-comment"""
    # provision: ignore ban-drop-table, prefer-bigint-over-int
    revision = "b"

    def upgrade():
        op.drop_column("t", "a")  # provision: ignore ban-drop-column
        op.drop_column(
            "t",
            "b",  # provision: ignore ban-drop-column
        )
        # provision: ignore renaming-column
        op.alter_column("t", "c", new_column_name="d")
        with op.get_context().autocommit_block():
            op.drop_column("t", "e")
        # provision: ingore renaming-table
        op.rename_table("t", "u")

    def downgrade():
        """Not possible."""
        raise NotImplementedError  # provision: ignore
    '''
).strip()


@pytest.mark.parametrize(
    ("rule", "line", "ignored"),
    [
        ("ban-drop-table", None, True),
        ("prefer-bigint-over-int", 14, True),
        ("ban-drop-column", None, False),
        ("ban-drop-column", 6, True),
        ("ban-drop-column", 7, True),
        ("ban-drop-column", 10, True),
        ("ban-drop-column", 12, False),
        ("renaming-column", 12, True),
        ("renaming-column", 14, False),
        ("renaming-table", 16, False),
        ("not-a-comment", None, False),
    ],
)
def test_comments_count_where_they_stand(rule: str, line: int | None, ignored: bool) -> None:  # noqa: FBT001
    assert read_notes(SOURCE.encode()).ignores(rule, line) is ignored


def test_other_comments_and_the_downgrade() -> None:
    said = read_notes(SOURCE.encode())
    assert said.unknown == ((15, "# provision: ingore renaming-table"), (20, "# provision: ignore"))
    assert (said.raises, said.is_irreversible) == (20, False)
    assert read_notes(b"# provision: irreversible\nx = 1\n").is_irreversible
    latin = '# -*- coding: latin-1 -*-\n# é\nx = "é"  # provision: ignore a-rule\n'.encode("latin-1")
    assert read_notes(latin).ignores("a-rule", 3)
    assert read_notes(b"def downgrade():\n    if x:\n        raise ValueError\n").raises is None


PIECES = (
    ("BEGIN;\n\n", None),
    ("-- Running upgrade a -> b", None),
    ("ALTER TABLE t\nDROP COLUMN a;", 6),
    ("UPDATE alembic_version SET version_num='b';", None),
    ("COMMIT;", None),
)


def reported(line: int, rule: str, text: str = "Bad.", advice: str | None = None, file: str = "b") -> dict[str, Any]:
    """Return one element of squawk's JSON."""
    return {"file": file, "line": line, "column": 0, "level": "Warning", "message": text, "help": advice,
            "rule_name": rule, "column_end": 9, "line_end": line}  # fmt: skip


def test_rendered_sql_becomes_statements_with_their_operations() -> None:
    assert statements(PIECES) == (Statement("BEGIN"), Statement("ALTER TABLE t\nDROP COLUMN a", 6), COMMIT)
    script = SquawkInput(statements(PIECES), (5.0, 900.0))
    assert script.text.splitlines() == [
        "SET lock_timeout = '5s';", "SET statement_timeout = '900s';", "BEGIN;", "ALTER TABLE t", "DROP COLUMN a;",
        "COMMIT;",
    ]  # fmt: skip
    assert SquawkInput((Statement("SELECT 1", 3),), (5.0, 9.0)).text.splitlines()[2:] == [
        "BEGIN;",
        "SELECT 1;",
        "COMMIT;",
    ]


def test_what_squawk_reports_is_brought_back_to_the_operation() -> None:
    script = SquawkInput(statements(PIECES), (5.0, 900.0))
    said = {"b": read_notes(b"def upgrade():\n  x = 1\n")}
    told = [
        reported(4, "ban-drop-column", "Dropping a column may break clients.", "Wait."),
        reported(3, "adding-field"),
        reported(3, "adding-field"),
        reported(0, "ours"),
    ]
    found, ignored = findings(told, {"b": script}, {"b": FILE}, said)
    sql = "ALTER TABLE t\nDROP COLUMN a"
    assert found == (
        Finding("b", FILE, 6, "adding-field", "warning", "Bad", None, sql),
        Finding("b", FILE, 6, "ban-drop-column", "warning", "Dropping a column may break clients", "Wait", sql),
    )
    assert ignored == 0
    said = {"b": read_notes(SOURCE.encode())}
    found, ignored = findings(told, {"b": script}, {"b": FILE}, said)
    assert [each.rule for each in found] == ["adding-field"]
    assert ignored == 1


def test_what_squawk_cannot_read_is_left_out_of_a_second_text() -> None:
    wrong = Statement("ALTER TABLE t FLY", 8)
    script = SquawkInput((Statement("DROP TABLE t", 7), wrong), (5.0, 900.0))
    unread = script.unread([reported(4, "syntax-error"), reported(4, "syntax-error")])
    assert unread == (wrong,)
    again = SquawkInput(script.statements, script.limits, without=unread)
    assert "FLY" not in again.text
    assert "DROP TABLE t;" in again.text


def traced(*locks: Lock, statement: str = "ALTER TABLE t …", **more: Any) -> Traced:
    """Return a statement with locks."""
    given = {"held": 1.25, "rewritten": (), **more}
    rewritten = given.pop("rewritten")
    return Traced("b", FILE, 6, statement, 0.5, locks, rewritten, **given)


TABLES = {"public.t": Table(1234567, 3 << 30), "public.new": Table(None, 8192)}


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (traced(Lock("public.t", "AccessExclusiveLock", is_new=False), Lock("public.t", "ShareLock", is_new=False)),
         [("ACCESS EXCLUSIVE on public.t (about 1,234,567 rows, 3.0 GB): "
           "readers and writers wait until the commit (1.25 s here)")]),
        (traced(Lock("public.new", "ShareLock", is_new=False)),
         ["SHARE on public.new (8 kB): writers wait until the commit (1.25 s here)"]),
        (traced(Lock("public.x", "ShareRowExclusiveLock", is_new=False)),
         ["SHARE ROW EXCLUSIVE on public.x: writers wait until the commit (1.25 s here)"]),
        (traced(Lock("public.x", "ShareUpdateExclusiveLock", is_new=False), concurrently=True),
         ["SHARE UPDATE EXCLUSIVE on public.x: only VACUUM and other schema changes wait while it runs"]),
        (traced(Lock("public.x", "RowExclusiveLock", is_new=False)), []),
        (traced(Lock("public.t", "AccessExclusiveLock", is_new=True)), []),
        (traced(rewritten=("public.t",)),
         ["public.t is rewritten, with its indexes: about 1,234,567 rows, 3.0 GB are copied"]),
        (traced(statement="TRUNCATE t", rewritten=("public.t",)), ["public.t is emptied"]),
    ],
)  # fmt: skip
def test_what_others_notice_of_a_statement(seen: Traced, told: list[str]) -> None:
    assert list(consequences(seen, TABLES)) == told


def test_catalogues_are_compared() -> None:
    before = {("table", "t"): "r", ("column", "t.a"): "integer", ("index", "i"): "x"}
    after = {("table", "t"): "r", ("column", "t.a"): "bigint", ("view", "v"): "y"}
    assert list(differences(before, after)) == [
        ["column", "t.a", "integer", "bigint"], ["index", "i", "x", None], ["view", "v", None, "y"],
    ]  # fmt: skip
    assert list(differences(after, after)) == []


def test_a_difference_is_a_sentence_and_what_goes_with_a_table_is_not_told() -> None:
    objects: list[tuple[Any, ...]] = [
        ("down", "column", "public.t.id", None, "integer NOT NULL"),
        ("down", "constraint", "public.t.t_pkey", None, "PRIMARY KEY (id)"),
        ("down", "index", "public.t_pkey", None, "CREATE UNIQUE INDEX t_pkey ON public.t USING …"),
        ("down", "sequence", "public.t_id_seq", None, "S p"),
        ("down", "table", "public.t", None, "r p"),
        ("down", "column", "public.u.x", "integer", "bigint"),
        ("down", "index", "public.i", "CREATE INDEX i ON public.u USING btree (x)", None),
        ("down", "constraint", "public.u.u_key", None, "UNIQUE (x)"),
        ("down", "index", "public.u_key", None, "CREATE UNIQUE INDEX u_key ON public.u USING …"),
        ("again", "type", "public.mood", None, "e 'a'"),
        ("again", "view", "public.v", "v", None),
        ("again", "column", "public.u.y", "text", "integer"),
    ]
    keys = ("phase", "kind", "name", "wanted", "found")
    found: list[Any] = [dict(zip(keys, each, strict=True)) for each in objects]
    assert sentences(found) == [
        "downgrade() leaves table public.t behind",
        "downgrade() does not bring back column public.u.x: it was `integer` and is `bigint`",
        "downgrade() removes index public.i, which was there before the revision",
        "downgrade() leaves constraint public.u.u_key behind",
        "the second upgrade() makes type public.mood, which the first did not",
        "the second upgrade() does not make view public.v, which the first did",
        "the second upgrade() makes another column public.u.y: it was `text` and is `integer`",
    ]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE ROLE app", "CREATE ROLE"),
        ("  drop user\n if exists app", "DROP USER"),
        ("DO $$ BEGIN EXECUTE 'CREATE  USER app'; END $$", "CREATE USER"),
        ("ALTER DATABASE shop SET work_mem = '5MB'", "ALTER DATABASE"),
        ("ALTER SYSTEM SET work_mem = '5MB'", "ALTER SYSTEM"),
        ("REASSIGN OWNED BY app TO other", "REASSIGN OWNED"),
        ("GRANT reader TO app", "GRANT"),
        ("COMMENT ON ROLE app IS 'x'", "COMMENT ON ROLE"),
        ("GRANT CONNECT ON DATABASE shop TO reader", "GRANT CONNECT ON DATABASE"),
        ("REVOKE ALL\nON TABLESPACE fast FROM PUBLIC", "REVOKE ALL ON TABLESPACE"),
        ("GRANT SET ON PARAMETER work_mem TO app", "GRANT SET ON PARAMETER"),
        ("GRANT SELECT ON t TO app; GRANT reader TO app", "GRANT"),
        ("GRANT SELECT ON t TO app; REVOKE SELECT ON u FROM app", None),
        ("GRANT SELECT\nON t TO app", None),
        ("CREATE USER MAPPING FOR app SERVER s", None),
        ("ALTER TABLE t ADD COLUMN role text", None),
        ("DROP TABLE users", None),
        ("CREATE TABLE groups (id int)", None),
    ],
)
def test_statements_that_change_what_all_databases_share_are_known(statement: str, words: str | None) -> None:
    assert shared(statement) == words
