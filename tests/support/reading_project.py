"""A project whose migrations read much: modules, files, variables, and what is not there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from textwrap import dedent
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "app/__init__.py": "",
    "app/models.py": "from app import words\nNOTE = words.NOTE\n",
    "app/words.py": "NOTE = 'first'\n",
    "data/notes.txt": "one\n",
    "sql/1.sql": "INSERT INTO note VALUES ('from sql');\n",
    "prepare.py": "import os\nos.environ['PREPARED'] = 'yes'\n",
    "migrations/env.py": """
        import os
        from pathlib import Path
        from alembic import context
        from sqlalchemy import create_engine, pool
        import app.models
        try:
            import local_settings
        except ImportError:
            local_settings = None
        os.environ["DOTENV"] = "yes" if os.path.exists(".env") else "no"
        engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
        with engine.connect() as connection:
            context.configure(connection=connection, transaction_per_migration=True, compare_type=False)
            with context.begin_transaction():
                context.run_migrations()
    """,
    "migrations/helper.py": "LENGTH = 20\n",
    "migrations/versions/r1.py": """
        import os
        from pathlib import Path
        import sqlalchemy as sa
        from alembic import op
        from app import models
        revision, down_revision = "r1", None

        def upgrade():
            op.create_table("note", sa.Column("text", sa.String(200)))
            op.execute("CREATE SEQUENCE numbers")
            op.execute("SELECT nextval('numbers')")
            found = [models.NOTE, Path("data/notes.txt").read_text(), os.environ.get("SHOP", "none")]
            found += [os.environ["DOTENV"], os.environ["GIVEN"]]
            for each in found:
                op.execute(sa.text("INSERT INTO note VALUES (:text)").bindparams(text=each))
            for each in sorted(Path("sql").glob("*.sql")):
                op.execute(each.read_text())

        def downgrade():
            op.drop_table("note")
    """,
    "migrations/versions/r2.py": """
        import sqlalchemy as sa
        from alembic import op
        revision, down_revision = "r2", "r1"

        def upgrade():
            op.create_table("second", sa.Column("id", sa.Integer))

        def downgrade():
            op.drop_table("second")
    """,
}
MIGRATIONS = {
    "script_location": "migrations",
    "cwd": ".",
    "python": "venv/bin/python",
    "prepare": "prepare.py",
    "env": {"GIVEN": "by the spec"},
}
ROLES = {"app": {"login": True, "password": "${APP_PW}"}}
METADATA = "site-packages/shop_words-1.0.dist-info"


def write(directory: Path, files: dict[str, str]) -> None:
    """Write files below a directory."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip())


def packages(directory: Path) -> Path:
    """Return where the packages of the project's own interpreter are."""
    return next((directory / "venv" / "lib").glob("python3*")) / "site-packages"


def make(directory: Path) -> dict[str, Any]:
    """Make the project, with an interpreter of its own that finds our packages, and return what the spec says more."""
    write(directory, FILES)
    argv = (sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(directory / "venv"))
    subprocess.run(argv, check=True)
    inside = packages(directory)
    (inside / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _install(directory)
    write(inside, {"shop_words-1.0.dist-info/METADATA": "Name: shop-words\n"})
    write(inside, {"shop_local-1.0.dist-info/direct_url.json": '{"url": "file:///srv/shop", "dir_info": {}}'})
    write(inside, {"shop_local-1.0.dist-info/RECORD": "shop_local.py,sha256=one,1\n"})
    return {"migrations": MIGRATIONS, "roles": ROLES}


def _install(directory: Path) -> None:
    """Have the interpreter find the project as an editable package."""
    (packages(directory) / "project.pth").write_text(f"{directory}\n")


def copy(source: Path, target: Path) -> None:
    """Copy the project, as another checkout of it with an interpreter of its own."""
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns(".provision", "__pycache__"))
    _install(target)
