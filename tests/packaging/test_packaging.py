"""What is installed elsewhere works there: the wheel and the sdist hold all that is needed, and nothing else.

Built and installed without an index: the packages that it needs are those of the environment that runs the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from provision import __version__
from provision.spec.parameters import MAJORS

ROOT = Path(__file__).parent.parent.parent
SPEC = "name: elsewhere\nserver: {image: postgres:17, credentials: {password: secret-of-the-test}}\n"
TEMPLATES = sorted(
    str(path.relative_to(ROOT / "templates")) for path in (ROOT / "templates").rglob("*") if path.is_file()
)


def run(*argv: str | Path, cwd: Path, code: int = 0) -> str:
    """Run a program in an environment that knows nothing of the checkout, and return what it printed."""
    environ = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**environ, "NO_COLOR": "1", "XDG_STATE_HOME": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel that is built from it, as a release makes them."""
    pytest.importorskip("hatchling", reason="hatchling is not installed (make venv)")
    made = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", made, ROOT, cwd=made)
    return made


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bin_dir(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel in it."""
    return _installed(tmp_path_factory.mktemp("installed"), wheel)


def _installed(home: Path, *what: str | Path) -> Path:
    venv.create(home, with_pip=False, symlinks=True)
    place = Path(sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)}))
    # As if the dependencies were installed: behind what is, so that the checkout's own installation is hidden.
    (place / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", home / "bin" / "python")
    run(*pip, "install", "-qq", "--no-deps", "--no-index", "--no-build-isolation", "--no-compile", *what, cwd=home)
    return home / "bin"


def test_the_wheel_holds_the_package_and_what_it_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    expected = {
        "provision/py.typed",
        *(f"provision/templates/{name}" for name in TEMPLATES),
        *(f"provision/spec/catalogue/postgresql-{major}.json" for major in MAJORS),
        *(str(path.relative_to(ROOT)) for path in (ROOT / "provision").rglob("*.py")),
    }
    assert expected <= names
    assert f"provision_postgres-{__version__}.dist-info/licenses/LICENSE" in names
    assert all(name.startswith(("provision/", f"provision_postgres-{__version__}.dist-info/")) for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".orig", ".rej", "~"))]


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        metadata = message_from_string(opened.read(f"provision_postgres-{__version__}.dist-info/METADATA").decode())
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert set(metadata.get_all("Provides-Extra") or ()) == {"dev", "embedded", "lint"}
    assert len(metadata["Summary"]) < 100


def test_the_sdist_holds_what_is_under_version_control_and_no_secret(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        names = {name.split("/", 1)[1] for name in opened.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "specs/dev.yml", "migrations/env.py"} <= names
    assert {"provision/__init__.py", "templates/postgresql.conf.j2", "tests/conftest.py", ".ci/run"} <= names
    junk = (".provision", ".venv", "__pycache__", "secrets/", ".pytest_cache", ".mypy_cache", ".hypothesis", "dist/")
    assert not [name for name in names if any(part in f"{name}/" for part in junk)]


@pytest.mark.parametrize("program", ["provision", "python -m provision"])
def test_what_is_installed_works_elsewhere(program: str, bin_dir: Path, tmp_path: Path) -> None:
    name, *words = program.split()
    argv = (bin_dir / name, *words)
    (tmp_path / "provision.yml").write_text(SPEC)
    where = run(bin_dir / "python", "-c", "import provision; print(provision.__file__)", cwd=tmp_path)
    assert where.startswith(str(bin_dir.parent))
    assert run(*argv, "--version", cwd=tmp_path) == f"provision {__version__}\n"
    assert "valid (elsewhere, postgres:17)" in run(*argv, "validate", cwd=tmp_path)
    rendered = run(*argv, "render", "--stdout", cwd=tmp_path)
    assert 'container_name: "elsewhere"' in rendered
    assert "secret-of-the-test" not in rendered
    assert [path.name for path in tmp_path.iterdir()] == ["provision.yml"]


def test_an_editable_installation_runs_the_checkout(tmp_path: Path) -> None:
    pytest.importorskip("editables", reason="editables is not installed (make venv)")
    programs = _installed(tmp_path / "installed", "--editable", ROOT)
    where = run(programs / "python", "-c", "import provision; print(provision.__file__)", cwd=tmp_path)
    assert Path(where.strip()) == ROOT / "provision" / "__init__.py"
    (tmp_path / "provision.yml").write_text(SPEC)
    assert "postgresql.conf" in run(programs / "provision", "render", "--stdout", cwd=tmp_path)
