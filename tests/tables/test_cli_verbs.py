"""What each command says, how it exits, and what it refuses; on a made-up environment (``support/made_up.py``)."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
from support.made_up import MadeUp

from provision.cli import run

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "tests/support/made_up.py"
SPEC = "version: 1\nname: shop\nserver:\n  image: postgres:17\n  credentials: {password: '${PW:-x}'}\n"
WHOLE_URL = "postgresql://postgres:p%40ss%2Fword@127.0.0.1:5432/shop"
MASKED_URL = "postgresql://postgres:********@127.0.0.1:5432/shop"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dev.yml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


class Provision:
    """Runs one command line in this process, on an environment of the named scenario."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd

    def __call__(self, scenario: str, *words: str) -> Done:
        self._monkeypatch.setattr(MadeUp, "scenario", scenario)
        self._monkeypatch.setattr("provision.environment.Environment", MadeUp)
        self._monkeypatch.setattr("sys.stdin", io.StringIO())
        code = run(words)
        out, err = self._capfd.readouterr()
        return Done(code, out, err)


@pytest.fixture
def provision(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Provision:
    return Provision(monkeypatch, capfd)


@pytest.mark.parametrize(
    ("scenario", "words", "code", "told"),
    [
        ("nothing", "plan dev.yml", 0, "shop: nothing to do (17.6 on 127.0.0.1:5432, revision 0006_status)"),
        ("nothing", "plan --detailed-exitcode dev.yml", 0, "nothing to do"),
        ("reload", "plan dev.yml", 0, "work_mem: 4MB → 8MB"),
        ("reload", "plan dev.yml", 0, "next: provision apply dev.yml"),
        ("reload", "plan --detailed-exitcode dev.yml", 2, "~ reload    settings/shop"),
        ("reload", "plan --diff dev.yml", 0, "+max_connections = 200"),
        ("reload", "plan -v dev.yml", 0, "· write conf/postgresql.conf"),
        ("reload", "apply --check --detailed-exitcode dev.yml", 2, "~ reload    settings/shop"),
        ("nothing", "apply dev.yml", 0, "shop: nothing to do (17.6 on 127.0.0.1:5432, revision 0006_status)"),
        ("reload", "apply dev.yml", 0, "reload settings/shop: done in 0.01 s"),
        ("reload", "apply dev.yml", 0, MASKED_URL),
        ("reload", "apply --diff dev.yml", 0, "+max_connections = 200"),
        ("fresh", "apply dev.yml", 0, "1 created, 1 reloaded"),
        ("fresh", "apply dev.yml", 0, "provision psql dev.yml"),
        ("broken", "apply dev.yml", 1, "    FATAL: disk full\nnext: provision logs dev.yml\n"),
        ("no-engine", "apply dev.yml", 69, "error: no Docker engine answers\n    tried unix:///x\nnext: start it"),
        ("interrupted", "apply dev.yml", 130, "error: interrupted\nnext: provision apply dev.yml   # it continues"),
        ("reload", "status dev.yml", 0, "pending     reload settings/shop"),
        ("reload", "status --detailed-exitcode dev.yml", 2, "shop: running, 1 change pending"),
        ("unreachable", "status dev.yml", 69, "it does not answer"),
        ("refused", "status dev.yml", 1, "shop: running, how it differs is not known\n"),
        ("refused", "status dev.yml", 1, "error: the volume is another's\n"),
        ("nothing", "verify --detailed-exitcode dev.yml", 0, "shop: as declared (0 things compared)"),
        ("drift", "verify dev.yml", 0, "shop: 3 of 0 things not as declared"),
        ("drift", "verify dev.yml", 0, "≠ container/shop\n      restart: no, declared unless-stopped"),
        ("drift", "verify dev.yml", 0, "≠ file/x.conf\n      content differs"),
        ("drift", "verify --diff dev.yml", 0, "+max_connections = 200"),
        ("drift", "verify --detailed-exitcode dev.yml", 2, "≠ database/shop\n      is missing"),
        (
            "refused",
            "verify --detailed-exitcode dev.yml",
            2,
            "✗ apply refuses: the volume is another's\n      its label",
        ),
        ("refused", "verify dev.yml", 0, "next: docker volume ls"),
        ("drift", "verify dev.yml", 0, "next: provision apply dev.yml"),
        ("unreachable", "verify dev.yml", 69, "next: provision apply dev.yml"),
        ("nothing", "start dev.yml", 0, "shop: already running"),
        ("absent", "start dev.yml", 69, "the environment 'shop' has no server\nnext: provision apply dev.yml"),
        ("nothing", "stop dev.yml", 0, "remove container/shop: done in 0.01 s"),
        ("nothing", "restart dev.yml", 0, "shop: 1 reloaded"),
        ("broken", "restart dev.yml", 1, "error: it broke"),
        ("nothing", "destroy dev.yml", 0, "shop: nothing to destroy"),
        ("fresh", "destroy dev.yml", 0, "the data stays; provision apply dev.yml brings the server back"),
        ("fresh", "destroy --data dev.yml", 64, "next: provision destroy --data --yes dev.yml"),
        ("fresh", "destroy --data dev.yml", 64, "DESTROYS DATA"),
        ("fresh", "destroy --data --yes dev.yml", 0, "remove volume/shop-data: done"),
        ("nothing", "logs -n 5 dev.yml", 0, "LOG: False 5\nLOG: ready\n"),
        ("nothing", "url dev.yml", 0, WHOLE_URL + "\n"),
        ("nothing", "psql dev.yml -- -c SELECT", 3, "shop -c SELECT\n"),
        ("nothing", "psql dev.yml", 3, "shop\n"),
        ("nothing", "render dev.yml", 0, "conf/postgresql.conf: written\nsecrets/password: unchanged\n"),
        ("nothing", "render --stdout dev.yml", 0, "# conf/postgresql.conf\nmax_connections = 200\n"),
        ("nothing", "render --stdout dev.yml", 0, "# secrets/password (a secret, mode 0600: not printed)"),
    ],
)
def test_verb(provision: Provision, scenario: str, words: str, code: int, told: str) -> None:
    done = provision(scenario, *words.split())
    assert told in done.stdout + done.stderr
    assert done.returncode == code
    assert "\x1b" not in done.stdout + done.stderr
    if not words.startswith("url"):
        assert "p@ss" not in done.stdout + done.stderr
        assert "p%40ss" not in done.stdout + done.stderr


def test_errors_leave_standard_output_alone(provision: Provision) -> None:
    assert provision("no-engine", "apply", "dev.yml").stdout == ""
    assert provision("fresh", "destroy", "--data", "dev.yml").stdout == ""


@pytest.mark.parametrize("words", ["plan", "apply", "apply --check", "stop", "destroy"])
def test_quiet(provision: Provision, words: str) -> None:
    done = provision("reload", *words.split(), "-q", "dev.yml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("scenario", "words", "name", "code"),
    [
        ("reload", "plan --diff", "plan", 0),
        ("nothing", "apply", "result", 0),
        ("fresh", "apply", "result", 0),
        ("reload", "apply --check --detailed-exitcode", "plan", 2),
        ("broken", "apply", "error", 1),
        ("bug", "apply", "error", 70),
        ("interrupted", "apply", "error", 130),
        ("reload", "status", "status", 0),
        ("drift", "verify --detailed-exitcode", "verification", 2),
        ("refused", "verify", "verification", 0),
    ],
)
def test_json(provision: Provision, scenario: str, words: str, name: str, code: int) -> None:
    done = provision(scenario, *words.split(), "--json", "dev.yml")
    document = json.loads(done.stdout)
    assert document["schema"] == f"provision/{name}/1"
    jsonschema.validate(document, json.loads((ROOT / "docs/schema" / f"{name}.json").read_text()))
    assert done.returncode == code
    assert "p@ss" not in done.stdout + done.stderr


def test_json_of_a_failed_apply_says_what_was_tried(provision: Provision) -> None:
    document = json.loads(provision("broken", "apply", "--json", "dev.yml").stdout)
    assert [(step["address"], step["error"]) for step in document["steps"]] == [("container/shop", "it broke")]


def test_a_bug_names_its_log_file(provision: Provision, project: Path) -> None:
    done = provision("bug", "plan", "dev.yml")
    assert done.returncode == 70
    (log,) = (project / "state").rglob("*.log")
    assert str(log) in done.stderr
    assert "Traceback" not in done.stderr
    assert "ZeroDivisionError" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_an_apply_in_order(number: signal.Signals) -> None:
    with subprocess.Popen(
        (sys.executable, SCRIPT, "slow", "apply", "dev.yml"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "begun" not in process.stdout.readline():
            pass
        process.send_signal(number)
        assert "error: interrupted" in process.stderr.read()
        assert process.wait() == 130


def wait_until_it_reads(pid: int) -> None:
    """Wait until a process sleeps: between its prompt and its `read` a signal is noted, and ends no `read`."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        ("shop\n", 0, "2 removed"),
        ("yes\n", 1, "that is not shop; nothing was done"),
        ("yes\n", 1, " provision destroy --data dev.yml\r\n"),
        ("\x04", 1, "nothing was done"),
        ("\x03", 130, "interrupted; nothing was done"),
        ("\x03", 130, " provision destroy --data dev.yml\r\n"),
    ],
)
def test_destroying_data_asks_for_the_name(answer: str, code: int, told: str) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        (sys.executable, SCRIPT, "fresh", "destroy", "--data", "dev.yml"), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen, answered = "", False
        while True:
            try:
                seen += os.read(ours, 65536).decode()
            except OSError:  # the other end is closed
                break
            if not answered and "Type shop to continue: " in seen:
                if answer == "\x03":  # this terminal is not the process's own, so it would not send the signal
                    wait_until_it_reads(process.pid)
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(ours, answer.encode())
                answered = True
    os.close(ours)
    assert told in seen
    assert process.returncode == code
