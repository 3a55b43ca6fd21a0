"""Forty revisions for a cluster whose primary is killed while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.system.waiting import attempts

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from support.environment import Environment
    from support.patroni import Cluster

REVISIONS = 40
_REVISION = """
import pathlib, time
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{name}", {before!r}
def upgrade():
    op.create_table("t{name}", sa.Column("id", sa.Integer))
    op.execute("INSERT INTO t{name} VALUES (1)")
{more}
def downgrade():
    op.drop_table("t{name}")
"""
SLEEPS = """
    if not pathlib.Path({path!r}).exists():
        pathlib.Path({path!r}).touch()
        op.execute("SELECT pg_sleep(60)")
"""
HALF = """
    with op.get_context().autocommit_block():
        op.execute("INSERT INTO t0001 VALUES (2)")
"""
ASKS = """
    pathlib.Path({path!r} + "-asks").touch()
    while not pathlib.Path({path!r} + "-answer").exists():
        time.sleep(0.02)
"""


def many(environment: Environment, more: dict[int, str]) -> Path:
    """Have forty revisions, some with ``more`` in them; return the file that says that one sleeps."""
    environment.migrations("one")
    versions, reached = environment.directory / "migrations" / "versions", environment.directory / "reached"
    for each in versions.glob("*.py"):
        each.unlink()
    for number in range(1, REVISIONS + 1):
        before = f"{number - 1:04}" if number > 1 else None
        own = more.get(number, "").format(path=str(reached))
        text = _REVISION.format(name=f"{number:04}", before=before, more=own)
        (versions / f"{number:04}.py").write_text(text)
    return reached


def hosts(cluster: Cluster) -> dict[str, Any]:
    return {"host": None, "port": None, "hosts": [f"127.0.0.1:{each.port}" for each in cluster.nodes]}


def until(path: Path) -> None:
    for _ in attempts(60, 0.02):
        if path.exists():
            return
    raise AssertionError(f"{path} was not reached")


def ended(apply: subprocess.Popen[str], code: int = 0) -> str:
    said = apply.communicate(timeout=150)[0]
    assert apply.returncode == code, said
    return said


def is_whole(environment: Environment, cluster: Cluster) -> None:
    """Each revision ran once on what the cluster has now, and there is nothing to do."""
    database = environment.document["server"]["database"]
    counted = " + ".join(f"(SELECT count(*) FROM t{number:04})" for number in range(1, REVISIONS + 1))  # noqa: S608
    assert cluster.execute(f"SELECT {counted}, version_num FROM alembic_version", database=database) == [  # noqa: S608
        (REVISIONS, "0040")
    ]
    assert "nothing to do" in environment.run("plan", "--detailed-exitcode").out
