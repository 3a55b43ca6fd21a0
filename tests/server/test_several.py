"""Several specs in one command, on embedded servers: side by side, shown in order, and each on its own."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg2
import pytest
from support import program
from support.embedded import an_embedded_environment, an_open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Have three specs that extend one base: they differ in their names."""
    with an_open_directory() as found, an_embedded_environment(found) as environment:
        (found / "base.yml").write_text("server: {image: postgres:18, runtime: embedded, port: auto}\n")
        names = [f"sp-{uuid4().hex[:8]}" for _ in range(3)]
        for number, name in enumerate(names, 1):
            (found / f"e{number}.yml").write_text(f"extends: base.yml\nname: {name}\n")
        (found / "environ.json").write_text(json.dumps(environment.environ))
        (found / "names.json").write_text(json.dumps(names))
        yield found
        for number in range(1, 4):
            run(found, "destroy", "--data", "--yes", f"e{number}.yml", code=None)


def run(directory: Path, *words: str, code: int | None = 0) -> tuple[str, str]:
    """Run the program in the directory, and return what it printed."""
    done = program.run(*words, cwd=directory, environ=json.loads((directory / "environ.json").read_text()))
    assert code is None or done.code == code, done.all
    return done.out, done.err


ALL = ("base.yml", "e1.yml", "e2.yml", "e3.yml")


def names(directory: Path) -> list[str]:
    return list(json.loads((directory / "names.json").read_text()))


def test_they_are_applied_and_shown_in_order(directory: Path) -> None:
    plan, _ = run(directory, "plan", "--detailed-exitcode", *ALL, code=2)
    assert plan.splitlines()[0] == "base.yml: left out, because others extend it"
    out, _ = run(directory, "apply", *ALL)
    assert [line.split(":")[0] for line in out.splitlines() if "created," in line] == names(directory)
    out, _ = run(directory, "apply", *ALL)
    assert [line.split(": ")[0] for line in out.splitlines()[1:]] == names(directory)
    assert out.count("nothing to do") == 3
    documents = json.loads(run(directory, "status", "--json", *ALL)[0])
    assert [each["environment"] for each in documents] == names(directory)
    assert len({each["endpoint"]["port"] for each in documents}) == 3
    assert {each["server"] for each in documents} == {"running"}
    out, _ = run(directory, "verify", "e3.yml", "e1.yml")
    assert [line.split(": ")[0] for line in out.splitlines()] == [names(directory)[2], names(directory)[0]]


def test_one_alone_keeps_its_document(directory: Path) -> None:
    assert json.loads(run(directory, "status", "--json", "e1.yml")[0])["schema"] == "provision/status/1"


def test_one_that_fails_leaves_the_others_alone(directory: Path) -> None:
    (directory / "tree").mkdir(exist_ok=True)
    (directory / "bad.yml").write_text(
        f"extends: base.yml\nname: {names(directory)[1]}\nmigrations: {{script_location: tree}}\n"
    )
    (directory / "tree" / "env.py").write_text("raise SystemExit('no')\n")
    versions = directory / "tree" / "versions"
    versions.mkdir(exist_ok=True)
    (versions / "a.py").write_text("revision = 'a'\ndown_revision = None\ndef upgrade(): pass\n")
    out, err = run(directory, "apply", "e1.yml", "bad.yml", "e3.yml", code=1)
    assert out.count("nothing to do") == 2
    assert "\nbad.yml:\n" in f"\n{err}"
    assert err.splitlines()[-1] == "1 of 3 failed: bad.yml"
    documents = json.loads(run(directory, "apply", "--json", "e1.yml", "bad.yml", code=1)[0])
    assert [each["schema"] for each in documents] == ["provision/result/1", "provision/error/1"]
    assert documents[1]["exit_code"] == 1


def test_a_change_for_one_run_reaches_each_of_them(directory: Path) -> None:
    out, _ = run(directory, "plan", "--set", "server.settings.work_mem=9MB", "e1.yml", "e2.yml")
    assert out.count("work_mem: ") == 2
    assert "provision apply e2.yml --set server.settings.work_mem=9MB" in out
    run(directory, "apply", "--set", "server.settings.work_mem=9MB", "e1.yml")
    assert setting(directory, "work_mem") == "9MB"
    run(directory, "apply", "e1.yml")
    assert setting(directory, "work_mem") == "4MB"


def setting(directory: Path, name: str) -> str:
    url = run(directory, "url", "e1.yml")[0].strip()
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW {name}")
            return str(cursor.fetchone()[0])
    finally:
        connection.close()


def test_nothing_begins_where_one_spec_is_wrong_or_two_clash(directory: Path) -> None:
    (directory / "wrong.yml").write_text("extends: base.yml\nname: sp-wrong\nserver: {prot: 1}\n")
    (directory / "fixed.yml").write_text("extends: base.yml\nname: sp-fixed\nserver: {port: 25999}\n")
    (directory / "clash.yml").write_text("extends: base.yml\nname: sp-clash\nserver: {port: 25999}\n")
    _, err = run(directory, "apply", "fixed.yml", "wrong.yml", code=65)
    assert err.startswith("wrong.yml:3:10: unknown key `prot`")
    assert "nothing was done, for the other specs neither" in err
    _, err = run(directory, "apply", "fixed.yml", "clash.yml", code=64)
    assert "fixed.yml and clash.yml both have the port 25999; nothing was done" in err
    assert not (directory / ".provision" / "sp-fixed").exists()
    run(directory, "plan", "fixed.yml", "clash.yml")


def test_an_interrupt_reaches_all_of_them(directory: Path) -> None:
    slow = 'server: {credentials: {password: {command: [sh, -c, "touch $0; sleep 60", '
    for number in (1, 2):
        (directory / f"slow{number}.yml").write_text(
            f"extends: base.yml\nname: sp-slow{number}\n{slow}{directory}/begun{number}]}}}}}}\n"
        )
    environ = json.loads((directory / "environ.json").read_text())
    process = program.begin("apply", "slow1.yml", "slow2.yml", cwd=directory, environ=environ)
    deadline = time.monotonic() + 30
    while not all((directory / f"begun{number}").exists() for number in (1, 2)):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out.count("error: interrupted") == 3
    assert "next: provision apply slow1.yml slow2.yml" in out


def test_they_are_stopped(directory: Path) -> None:
    out, _ = run(directory, "stop", *ALL)
    assert out.count("1 stopped") == 3
    documents = json.loads(run(directory, "status", "--json", "e1.yml", "e2.yml")[0])
    assert {each["server"] for each in documents} == {"stopped"}
