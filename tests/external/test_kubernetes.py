"""The manifests of docs/kubernetes.md are what their types say, fit each other, and hold a spec that works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
import yaml
from support.foreign import PASSWORD

from provision.alembic.running.lock import CLASS_ID, OBJECT_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment
    from support.foreign import Foreign

PAGE = Path(__file__).parents[2] / "docs" / "kubernetes.md"
_PACKAGES = ("typescript@5.9.3", "@kubernetes-models/cloudnative-pg@2.0.0", "kubernetes-models@5.1.0")
_CACHE = Path.home() / ".cache" / "provision-tests" / "kubernetes-models-2.0.0"
_TYPES = {
    "postgresql.cnpg.io/v1": "@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1",
    "batch/v1": "kubernetes-models/batch/v1",
    "v1": "kubernetes-models/v1",
}
_OPTIONS = ("--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022")


@cache
def manifests() -> tuple[dict[str, Any], ...]:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return tuple(each for block in blocks for each in yaml.safe_load_all(block))


def one(kind: str, name: str = "") -> dict[str, Any]:
    """Return the one manifest of a kind, or the one that has a name."""
    (found,) = [e for e in manifests() if e["kind"] == kind and (not name or e["metadata"]["name"] == name)]
    return found


@cache
def models() -> Path:
    """Return a directory with the types, which npm fetches once into a cache."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to get the types of Kubernetes with")
    if not (_CACHE / "done").exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        (_CACHE / "package.json").write_text('{"type": "module"}')
        argv = ("npm", "install", "--silent", "--no-audit", "--no-fund", *_PACKAGES)
        subprocess.run(argv, cwd=_CACHE, check=True, capture_output=True)
        (_CACHE / "done").touch()
    return _CACHE


def complaints(directory: Path, documents: tuple[dict[str, Any], ...]) -> list[str]:
    """Return what the compiler of TypeScript says of manifests, as values of their types."""
    lines = []
    for number, each in enumerate(documents):
        kind, module = each["kind"], _TYPES[each["apiVersion"]]
        lines += [f'import type {{ I{kind} as T{number} }} from "{module}";', f"const m{number}: T{number} ="]
        lines += [f"{json.dumps(each, indent=1)};", f"void m{number};"]
    (directory / "manifests.ts").write_text("\n".join(lines))
    (directory / "package.json").write_text('{"type": "module"}')
    if not (directory / "node_modules").exists():
        (directory / "node_modules").symlink_to(models() / "node_modules")
    tsc = str(models() / "node_modules" / ".bin" / "tsc")
    done = subprocess.run((tsc, *_OPTIONS, "manifests.ts"), cwd=directory, check=False, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if "error" in line]


def test_the_manifests_are_of_their_types(tmp_path: Path) -> None:
    assert [each["kind"] for each in manifests()] == ["Secret", "Secret", "Cluster", "Database", "ConfigMap", "Job"]
    assert complaints(tmp_path, manifests()) == []
    wrong = json.loads(json.dumps([one("Cluster"), one("Database"), one("Job")]))
    wrong[0]["spec"]["managed"]["roles"][0]["passwordsecret"] = {"name": "x"}
    del wrong[1]["spec"]["owner"]
    wrong[2]["spec"]["podFailurePolicy"]["rules"][0]["action"] = 1
    assert len(complaints(tmp_path, tuple(wrong))) == len(wrong), "so they would be found"


def test_the_manifests_fit_each_other() -> None:
    cluster, database, job = one("Cluster"), one("Database"), one("Job")["spec"]
    spec = yaml.safe_load(one("ConfigMap")["data"]["spec.yml"])
    (container,) = job["template"]["spec"]["containers"]
    volumes = {each["name"]: each for each in job["template"]["spec"]["volumes"]}
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    for role in cluster["spec"]["managed"]["roles"]:
        assert one("Secret", role["passwordSecret"]["name"])["stringData"]["username"] == role["name"]
    assert spec["server"]["host"] == f"{database['spec']['cluster']['name']}-rw"
    assert cluster["metadata"]["name"] == database["spec"]["cluster"]["name"]
    assert database["spec"]["owner"] == spec["server"]["credentials"]["user"]
    assert list(spec["databases"]) == [database["spec"]["name"]]
    assert cluster["spec"]["imageName"].rpartition(":")[2] == spec["server"]["image"].rpartition(":")[2]
    login, ca = volumes["login"]["secret"], volumes["ca"]["secret"]
    assert one("Secret", login["secretName"])["stringData"]["username"] == spec["server"]["credentials"]["user"]
    assert spec["server"]["credentials"]["password"]["file"] == f"{mounted['login']}/{login['items'][0]['path']}"
    assert ca["secretName"] == f"{cluster['metadata']['name']}-ca"
    assert spec["server"]["sslrootcert"] == f"{mounted['ca']}/{ca['items'][0]['path']}"
    assert volumes["spec"]["configMap"]["name"] == one("ConfigMap")["metadata"]["name"]
    assert container["command"] == ["provision", "apply", mounted["spec"]]
    ignored, failed = job["podFailurePolicy"]["rules"]
    assert (ignored["action"], failed["action"]) == ("Ignore", "FailJob")
    assert failed["onExitCodes"]["containerName"] == container["name"]


@pytest.fixture
def released(foreign: Foreign, environment: Environment) -> Iterator[list[str]]:
    """Have what the operator would have made, and the options that lead the spec there instead of to its service."""
    quoted = PASSWORD.replace("'", "''")
    roles = [each["name"] for each in one("Cluster")["spec"]["managed"]["roles"]]
    owner, name = one("Database")["spec"]["owner"], one("Database")["spec"]["name"]
    foreign.execute(
        *[f"CREATE ROLE {role} LOGIN PASSWORD '{quoted}'" for role in roles], f"CREATE DATABASE {name} OWNER {owner}"
    )
    environment.migrations("customers", "orders")
    place = environment.directory
    (place / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (place / "password").write_text(f"{PASSWORD}\n")
    environment.spec.write_text(one("ConfigMap")["data"]["spec.yml"])
    changed = {
        "server.host": "127.0.0.1",
        "server.port": str(foreign.port),
        "server.sslmode": "prefer",
        "server.sslrootcert": "null",
        "server.credentials.password.file": "./password",
        "migrations.config": "./alembic.ini",
    }
    yield [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]
    foreign.execute(f"DROP DATABASE {name} WITH (FORCE)", *[f"DROP ROLE {role}" for role in reversed(roles)])


def test_the_spec_of_the_job_is_applied(foreign: Foreign, environment: Environment, released: list[str]) -> None:
    applied = environment.run("apply", *released)
    assert "2 revisions applied" in applied.out
    assert "compared only" in applied.out or "only compared" in applied.out, "max_connections is the Cluster's"
    with (
        closing(
            psycopg2.connect(host="127.0.0.1", port=foreign.port, user="shop_app", password=PASSWORD, dbname="shop")
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("INSERT INTO customers (name) VALUES ('one')")
    assert "nothing to do" in environment.run("apply", *released).out


def test_what_the_job_retries_is_what_passes_by(
    foreign: Foreign, environment: Environment, released: list[str]
) -> None:
    away = environment.run("apply", *released, "--set", "server.port=1", "--set", "server.ready_timeout=1s", code=None)
    refused = environment.run("apply", *released, "--set", "server.credentials.password.file=./alembic.ini", code=None)
    with (
        closing(
            psycopg2.connect(host="127.0.0.1", port=foreign.port, user="shop_app", password=PASSWORD, dbname="shop")
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (CLASS_ID, OBJECT_ID))
        held = environment.run("apply", *released, "--set", "migrations.timeout=1s", code=None)
    rule = one("Job")["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]
    assert rule["operator"] == "NotIn"
    assert sorted({away.code, refused.code, held.code}) == rule["values"]
