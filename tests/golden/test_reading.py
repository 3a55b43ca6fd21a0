"""What the child notes of what the code of a tree reads; and that the code does not notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from provision.alembic.running.process import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Watched = Callable[..., dict[str, Any]]

_WATCH = f"""
import json, os, sys
sys.path.insert(0, {str(PROGRAM.parent.parent)!r})
from child.reading import Reading
sys.path.pop(0)
sys.path.insert(0, os.getcwd())
class Progress:
    own = [os.path.abspath("migrations") + "/"]
    on_server = set()
reading = Reading({{"tls": {{"PGSSLMODE": "prefer"}}, "env": {{"GIVEN": "by the spec"}}}}, Progress())
reading.begin()
try:
    exec(compile(open("code.py").read(), "code.py", "exec"), {{"__name__": "code_of_a_tree"}})
finally:
    print(json.dumps(reading.end()))
"""


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """Run code in a directory with some files, and return what was noted of it; paths in the directory are relative."""
    (tmp_path / "models.py").write_text("import settings\nNAME = 'shop'\n")
    (tmp_path / "settings.py").write_text("")
    (tmp_path / "words.txt").write_text("a b\n")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text("")
    (tmp_path / "migrations" / ".hidden").write_text("")
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "one.sql").write_text("SELECT 1;\n")
    for name in ("words.txt~", "old.pyc"):
        (tmp_path / "migrations" / name).write_text("")

    def run(code: str, **variables: str) -> dict[str, Any]:
        (tmp_path / "code.py").write_text(textwrap.dedent(code))
        environ = {**{each: os.environ[each] for each in ("PATH", "HOME")}, **variables}
        argv = (sys.executable, "-c", _WATCH)
        done = subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        for name in ("files", "looked", "listed", "changed"):
            inside = [os.path.relpath(each, tmp_path) for each in found[name] if each.startswith(str(tmp_path))]
            found[name] = [each for each in inside if each != "code.py"]
        return found  # type: ignore[no-any-return]

    return run


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("import models", ["models.py", "settings.py"]),
        ("import models, sys; del sys.modules['models']", ["models.py", "settings.py"]),
        ("open('words.txt').read()", ["words.txt"]),
        ("from pathlib import Path; Path('words.txt').read_bytes()", ["words.txt"]),
        ("import os; os.chdir('sql'); open('one.sql')", ["sql/one.sql"]),
        ("import os; os.open(b'words.txt', os.O_RDONLY)", ["words.txt"]),
        (
            "import threading; t = threading.Thread(target=lambda: open('words.txt')); t.start(); t.join()",
            ["words.txt"],
        ),
        ("import json, email, sqlite3", []),
        ("open('new.txt', 'w').write('x'); open('new.txt').read()", []),
        ("open('/dev/null'); open('/proc/self/stat').read()", []),
        ("open('migrations/env.py'); open('migrations/.hidden')", ["migrations/.hidden"]),
        ("import os; os.path.getsize('words.txt')", ["words.txt"]),
        ("from pathlib import Path; Path('words.txt').stat()", ["words.txt"]),
        ("import os; os.lstat('words.txt')", ["words.txt"]),
        ("import os; os.stat('sql')", []),
        ("open('migrations/words.txt~'); open('migrations/old.pyc')", ["migrations/old.pyc", "migrations/words.txt~"]),
    ],
)
def test_files_that_are_read_are_noted(watched: Watched, code: str, files: list[str]) -> None:
    for _ in range(2):  # the second time what is imported is compiled already
        assert watched(code)["files"] == files


@pytest.mark.parametrize(
    ("code", "looked"),
    [
        ("import os; os.path.exists('.env')", [".env"]),
        ("from pathlib import Path; Path('sql/two.sql').is_file()", ["sql/two.sql"]),
        ("import os; os.access('.env', os.R_OK)", [".env"]),
        ("import os; os.path.lexists('.env')", [".env"]),
        ("import os; os.path.islink('sql'); os.path.realpath('sql/two.sql')", ["sql"]),
        ("open('words.txt')", []),
        (
            "try:\n    import local_settings\nexcept ImportError:\n    pass",
            ["local_settings", "local_settings.py", "local_settings/__init__.py"],
        ),
        (
            "import importlib\ntry:\n    importlib.import_module('local')\nexcept ImportError:\n    pass",
            ["local", "local.py", "local/__init__.py"],
        ),
        (
            "try:\n    from sql.extra.more import X\nexcept ImportError:\n    pass",
            ["sql/extra", "sql/extra.py", "sql/extra/__init__.py"],
        ),
        ("from importlib.util import find_spec; find_spec('local')", ["local", "local.py", "local/__init__.py"]),
        ("import models", []),
        ("try:\n    import settings.local\nexcept ImportError:\n    pass", []),
        ("try:\n    open('missing.txt')\nexcept OSError:\n    pass", []),
    ],
)
def test_files_that_are_looked_for_are_noted(watched: Watched, code: str, looked: list[str]) -> None:
    assert watched(code)["looked"] == looked


def test_a_missing_file_counts_as_read(watched: Watched) -> None:
    assert watched("try:\n    open('missing.txt')\nexcept OSError:\n    pass")["files"] == ["missing.txt"]


@pytest.mark.parametrize(
    ("code", "listed"),
    [
        ("import os; os.listdir('sql')", ["sql"]),
        ("from pathlib import Path; list(Path('sql').glob('*.sql'))", ["sql"]),
        ("import os; list(os.walk('sql'))", ["sql"]),
        ("import models", []),
        ("from importlib.metadata import entry_points; entry_points()", []),
    ],
)
def test_directories_that_are_listed_are_noted(watched: Watched, code: str, listed: list[str]) -> None:
    assert watched(code)["listed"] == listed


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("text = open('words.txt').read(); open('words.txt', 'w').write(text + 'c')", ["words.txt"]),
        ("open('words.txt', 'r+').write('x')", ["words.txt"]),
        ("import os; open('words.txt'); open('w', 'w'); os.replace('w', 'words.txt')", ["words.txt"]),
        ("open('words.txt', 'w')", []),
        ("open('log.txt', 'a').write('x'); open('log.txt').read()", []),
        ("open('words.txt', 'a+').seek(0)", ["words.txt"]),
        ("import os; os.open('words.txt', os.O_RDWR | os.O_CREAT)", ["words.txt"]),
        ("open('new.txt', 'x+').write('x'); open('new.txt', 'r+')", []),
    ],
)
def test_files_that_are_read_and_then_written_are_noted(watched: Watched, code: str, changed: list[str]) -> None:
    assert watched(code)["changed"] == changed


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import os; os.environ['SHOP']", ["SHOP"]),
        ("import os; os.environ.get('NONE')", ["NONE"]),
        ("import os; os.getenv('SHOP'); os.getenv('SHOP')", ["SHOP"]),
        ("import os; 'SHOP' in os.environ", ["SHOP"]),
        ("from os import environ; environ.setdefault('NEW', 'x'); environ['NEW']", ["NEW"]),
        ("import os; os.environ['NEW'] = 'x'; os.environ['NEW']", []),
        ("import os; os.path.expandvars('$SHOP/x')", ["SHOP"]),
        ("import os, string; string.Template('$SHOP').substitute(os.environ)", ["SHOP"]),
        ("import os; os.environb[b'SHOP']", ["SHOP"]),
        ("import os; os.environ['GIVEN'] = 'x'; os.environ.get('PGSSLMODE'); os.environ.get('GIVEN')", []),
        ("import urllib.request; urllib.request.getproxies()", []),
        ("import tempfile; tempfile.gettempdir()", []),
    ],
)
def test_variables_that_are_read_are_noted(watched: Watched, code: str, names: list[str]) -> None:
    found = watched(code, SHOP="/srv")
    assert (found["variables"], found["all_variables"]) == (names, False)


@pytest.mark.parametrize(
    "code",
    [
        "import os; dict(os.environ)",
        "import os; os.environ.copy()",
        "import os; {name.lower(): value for name, value in os.environ.items()}",
        "import os; [os.environ[each] for each in os.environ]",
        "import os; [each for each in os.environ if each.startswith('SHOP')]",
        "import os; os.environ | {}",
    ],
)
def test_going_through_all_variables_is_one_thing(watched: Watched, code: str) -> None:
    found = watched(code, SHOP="/srv")
    assert (found["variables"], found["all_variables"]) == ([], True)


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("list(os.environ); os.environ['SHOP']", {"SHOP"}),
        ("first = next(iter(os.environ)); os.environ[first]", {"PATH"}),
        ("[os.environ[each] for each in os.environ if each.startswith('SHOP')]", {"SHOP"}),
        ("dict(os.environ); os.environ['PATH']", {"PATH"}),
        ("[os.environ.get('SHOP') for each in os.environ.items()]", {"SHOP"}),
        ("list(os.environ); os.environ['PATH']; dict(os.environ)", {"PATH"}),
    ],
)
def test_one_that_is_read_besides_counts_by_its_name(watched: Watched, code: str, names: set[str]) -> None:
    found = watched(f"import os; {code}", SHOP="/srv")
    assert (set(found["variables"]), found["all_variables"]) == (names, True)


@pytest.mark.parametrize(
    ("code", "programs"),
    [
        ("import subprocess; subprocess.run(['/bin/true'])", ["true"]),
        ("import subprocess; subprocess.run('true', shell=True)", ["sh"]),
        ("import os; os.system('true')", ["os.system"]),
        ("import os\nif os.fork() == 0:\n    os._exit(0)", ["os.fork"]),
        ("import ctypes.util; ctypes.util.find_library('c')", []),
        (
            "import multiprocessing as m; p = m.get_context('spawn').Process(target=print); p.start(); p.join()",
            ["multiprocessing.popen_spawn_posix"],
        ),
    ],
)
def test_programs_that_run_are_noted(watched: Watched, code: str, programs: list[str]) -> None:
    assert watched(code)["programs"] == programs


def test_a_link_to_code_elsewhere_is_not_installed_code(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked.py").write_text("")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "linked.py").symlink_to(tmp_path / "elsewhere" / "linked.py")
    (tmp_path / "site-packages" / "copied.py").write_text("")
    code = "import sys; sys.path.append('site-packages'); import linked, copied"
    assert watched(code)["files"] == ["site-packages/linked.py"]


def test_dotenv_reads_what_its_file_names(watched: Watched) -> None:
    pytest.importorskip("dotenv", reason="python-dotenv is not installed")
    code = """
        import os, dotenv
        open(".env", "w").write("A=${SHOP}/x\\nB=${OTHER:-y}\\n")
        dotenv.load_dotenv(".env")
        assert (os.environ["A"], os.environ["B"]) == ("/srv/x", "y")
    """
    found = watched(code, SHOP="/srv")
    assert not found["all_variables"]
    assert set(found["variables"]) - {"PYTHON_DOTENV_DISABLED"} == {"A", "B", "OTHER", "SHOP"}


_UNNOTICED = {
    "class": "assert isinstance(os.environ, os._Environ) and type(os.environ).__name__ == '_Environ'",
    "set": "os.environ['A'] = '1'; assert os.getenv('A') == '1'; del os.environ['A']; assert 'A' not in os.environ",
    "equal": "assert os.environ == dict(os.environ); assert repr(os.environ).startswith('environ(')",
    "stat": "assert os.stat('words.txt').st_size == 4; assert os.stat('.', dir_fd=None, follow_symlinks=False)",
    "sets": "assert os.stat in os.supports_follow_symlinks and {os.stat, os.access} <= os.supports_dir_fd",
    "access": "assert os.access('words.txt', mode=os.R_OK) and not os.access('missing', os.F_OK)",
    "method": """
        class A:
            stat = os.stat
        assert A().stat(path='words.txt').st_size == 4
        assert os.stat.__name__ == 'stat'
    """,
    "missing file": """
        try:
            os.stat('missing')
        except FileNotFoundError as error:
            assert error.filename == 'missing'
    """,
    "missing variable": """
        try:
            os.environ['missing']
        except KeyError as error:
            assert error.args == ('missing',)
    """,
    "no text": """
        try:
            os.environ[3]
        except TypeError:
            pass
        else:
            raise AssertionError
    """,
    "no path": """
        for each in (None, 3.5, object()):
            try:
                os.stat(each)
            except TypeError:
                pass
    """,
    "odd module": """
        class Odd:
            def __getattr__(self, name):
                raise RuntimeError(name)
        sys.modules['odd'] = Odd()
    """,
    "odd modules": "sys.modules['none'] = None; sys.modules['number'] = 3; sys.path += [None, b'x', 3]",
    "recursion": """
        def deep(n):
            try:
                deep(n + 1)
            except RecursionError:
                open('words.txt')
        deep(0)
    """,
    "odd events": "[sys.audit(*each) for each in (['open'], ['open', object(), None, 'x'], ['import'], ['os.rename'])]",
    "odd path": """
        class Path:
            def __fspath__(self):
                raise ValueError('odd')
        try:
            open(Path())
        except ValueError:
            pass
    """,
    "rmtree": "import shutil; os.mkdir('d'); open('d/x', 'w'); shutil.rmtree('d'); assert not os.path.exists('d')",
    "temporary": """
        import tempfile
        with tempfile.TemporaryDirectory() as directory:
            open(directory + '/x', 'w').write('x')
            open(directory + '/x')
    """,
}


@pytest.mark.parametrize("code", list(_UNNOTICED.values()), ids=list(_UNNOTICED))
def test_the_code_does_not_notice(watched: Watched, code: str) -> None:
    watched(f"import os, sys\n{textwrap.dedent(code)}")


def test_what_cannot_be_noted_is_reported(watched: Watched) -> None:
    assert "open" in watched("import sys; sys.audit('open')")["lost"]


def test_too_many_files_are_reported(watched: Watched) -> None:
    assert "more than 5000 files" in watched("import os\nfor n in range(5001): os.path.exists(str(n))")["lost"]
