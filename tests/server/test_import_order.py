"""A law over every tree here: the project's files run in the order in which ``alembic upgrade head`` runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import test_alembic_envs as envs
import trees
from support.order import Order

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

pytestmark = pytest.mark.server

PLAIN = """
import json, os, sys
from alembic import command
from alembic.config import CommandLine, Config
from provision.alembic.child.fill import fill
from sqlalchemy import create_engine
from sqlalchemy.engine import URL

given = json.load(sys.stdin)
login = given["login"]
url = URL.create("postgresql+psycopg2", **{("username" if k == "user" else k): v for k, v in login.items()})
url = url.render_as_string(hide_password=False)
values = {**{k: str(v) for k, v in login.items()}, "url": url}
config = Config()
for name, value in {"script_location": "migrations", "sqlalchemy.url": given["url"] or url, **given["options"]}.items():
    config.set_main_option(name, fill(value, values).replace("%", "%%"))
os.environ.update({name: fill(value, values) for name, value in given["env"].items()})
x = ["-x" + name + "=" + fill(value, values) for name, value in given["x"].items()]
config.cmd_opts = CommandLine().parser.parse_args([*x, "upgrade", "head"])
for name, kind in given["attributes"].items():
    engine = create_engine(url)
    config.attributes[name] = engine if kind == "engine" else engine.connect()
sys.path.insert(0, os.getcwd())
command.upgrade(config, "head")
"""

CIRCULAR = {
    "aa.py": "try:\n    from bb import B\nexcept ImportError:\n    pass\n",
    "bb.py": "import aa\n\nclass B:\n    table = 'alpha'\n\nassert aa\n",
}
SHOP = {
    "shop/__init__.py": "ready = False\n",
    "shop/models.py": "import shop\nassert shop.ready, 'env.py has not set it up'\n",
}
REFUSED_BY_ALEMBIC = "fileConfig without a file"
BY_URL = envs.made('config.get_main_option("sqlalchemy.url")')
PROJECTS: dict[str, tuple[dict[str, str], str, str]] = {
    "modules that import each other": (CIRCULAR, "from aa import B\nassert B\n" + BY_URL, "from bb import B"),
    "an application that env.py sets up": (SHOP, "import shop\nshop.ready = True\n" + BY_URL, "import shop.models"),
    "an env.py that asks for the head": (SHOP, "import shop\nshop.ready = True\nfrom alembic import context\n"
                                         "assert context.get_head_revision()\n" + BY_URL, "import shop.models"),
}  # fmt: skip


def plain(tree: Any, here: Server, home: Path, order: Order) -> None:
    """Upgrade with Alembic alone, which must work."""
    login = {each: getattr(here.endpoint, each) for each in ("host", "port", "user", "database")}
    login["password"] = here.endpoint.password.reveal()
    asynchronous = "async_engine_from_config" in (home / "migrations" / "env.py").read_text()
    said = {key: getattr(tree, key) for key in ("options", "env", "x")}
    given = {
        **{key: {name: value.reveal() for name, value in values.items()} for key, values in said.items()},
        "attributes": dict(tree.attributes),
        "login": login,
        "url": envs.FROM_PARTS.replace("psycopg2", "asyncpg") if asynchronous else None,
    }
    environ = {**os.environ, **order.environ}
    done = subprocess.run(
        [sys.executable, "-c", PLAIN], cwd=home, env=environ, input=json.dumps(given), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def other(server: Server, database: Server) -> Any:
    """A second empty database, for plain Alembic."""
    name = f"{database.endpoint.database} plain"
    server.execute(f'CREATE DATABASE "{name}"')
    yield replace(server, endpoint=replace(server.endpoint, database=name))
    server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize("name", [*(each for each in envs.KINDS if each != REFUSED_BY_ALEMBIC), *PROJECTS])
def test_files_run_in_alembics_order(
    name: str, tmp_path: Path, database: Server, other: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "asynchronous":
        pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    home = tmp_path / "project"
    given: dict[str, Any] = {}
    modules, env, imported = {}, "", "pass"
    if name in PROJECTS:
        modules, env, imported = PROJECTS[name]
    else:
        env, given = envs.KINDS[name]
    tree = trees.write(home, {"alpha": trees.table("alpha"), "beta": trees.table("beta")}, env=env)
    for path, text in modules.items():
        (home / path).parent.mkdir(exist_ok=True)
        (home / path).write_text(text)
    first = home / "migrations" / "versions" / "alpha.py"
    first.write_text(f"{imported}\n{first.read_text()}")
    tree = replace(tree, cwd=home, **given)
    alembics, ours = Order(tmp_path / "alembic", home), Order(tmp_path / "ours", home)
    plain(tree, other, home, alembics)
    for key, value in ours.environ.items():
        monkeypatch.setenv(key, value)
    assert trees.run(tree, database.endpoint).after == ("beta",)
    assert ours.files() == alembics.files() != []
