"""A spec that extends another, and what ``--set`` says above both: what wins, where it is from, and what is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support import program

from provision.environment import Environment
from provision.errors import SpecError, UsageError
from provision.report import effective as report
from provision.spec.load import load
from provision.spec.model import DataPath, Ephemeral, Spec, Volume
from provision.spec.passwords import PasswordCommand, PasswordFile, PasswordGenerated, PasswordValue

if TYPE_CHECKING:
    from pathlib import Path

BASE = {"name": "shop", "server": {"image": "postgres:17"}}
SECRET = "Tr0ub4dor&3"


def written(directory: Path, base: Any, child: Any) -> Path:
    """Write a spec in ``specs/`` that extends one above it, and return its path."""
    (directory / "specs").mkdir(exist_ok=True)
    for tree in (directory / "tree", directory / "specs" / "tree"):
        tree.mkdir(exist_ok=True)
        (tree / "env.py").touch()
        (tree / "alembic.ini").write_text("[alembic]\nscript_location = .\n[other]\nscript_location = .\n")
    path = directory / "specs" / "dev.yml"
    (directory / "base.yml").write_text(base if isinstance(base, str) else yaml.safe_dump(base, sort_keys=False))
    text = child if isinstance(child, str) else yaml.safe_dump(child, sort_keys=False) if child else ""
    path.write_text(f"extends: ../base.yml\n{text}")
    return path


def together(directory: Path, base: dict[str, Any], child: dict[str, Any], *overrides: str, **environ: str) -> Spec:
    """Return what a spec and its base mean, where both get a server and the base a name."""
    base = {**BASE, **base, "server": {**BASE["server"], **base.get("server", {})}}  # type: ignore[dict-item]
    return load(written(directory, base, child), environ, overrides=overrides)


def problems(directory: Path, base: Any, child: Any, *overrides: str) -> list[str]:
    """Return what is wrong, as lines; paths are relative to the directory."""
    with pytest.raises(SpecError) as caught:
        load(written(directory, base, child), {}, overrides=overrides)
    return [
        f"{str(each.path).removeprefix(f'{directory}/')}:{each.line}:{each.column}: {each.message}"
        for each in caught.value.problems
    ]


SERVERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "a key that only the base has": ({"port": 5433}, {}, {"port": 5433}),
    "a key that only the child has": ({}, {"port": 5433}, {"port": 5433}),
    "a key of both": ({"port": 5433}, {"port": 5434}, {"port": 5434}),
    "null": ({"port": 5433}, {"port": None}, {"port": 5432}),
    "settings": (
        {"settings": {"work_mem": "4MB", "jit": "on"}},
        {"settings": {"work_mem": "8MB"}},
        {"settings": {"work_mem": "8MB", "jit": "on"}},
    ),
    "a setting in another case": (
        {"settings": {"work_mem": "4MB"}},
        {"settings": {"Work_Mem": "8MB"}},
        {"settings": {"work_mem": "8MB"}},
    ),
    "a setting taken away": ({"settings": {"Work_Mem": "4MB"}}, {"settings": {"work_mem": None}}, {"settings": {}}),
    "all settings taken away": ({"settings": {"work_mem": "4MB"}}, {"settings": None}, {"settings": {}}),
    "max_connections above settings": (
        {"settings": {"Max_Connections": 50}},
        {"max_connections": 60},
        {"settings": {"max_connections": "60"}},
    ),
    "max_connections in settings": (
        {"max_connections": 60},
        {"settings": {"max_connections": 50}},
        {"settings": {"max_connections": "50"}},
    ),
    "another image": ({"image": "team/pg:latest", "major": 16}, {"image": "postgres:17"}, {"major": 17}),
    "another major": (
        {"image": "team/pg:latest", "major": 16},
        {"major": 17},
        {"major": 17, "image": "team/pg:latest"},
    ),
    "volume, path": ({"data": {"volume": "shop"}}, {"data": {"path": "data"}}, {"data": "specs/data"}),
    "path, volume": ({"data": {"path": "data"}}, {"data": {"volume": "shop"}}, {"data": Volume("shop")}),
    "a path of the base": ({"data": {"path": "data"}}, {}, {"data": "data"}),
    "volume, ephemeral": ({"data": {"volume": "shop"}}, {"data": {"ephemeral": True}}, {"data": Ephemeral()}),
    "volume, not ephemeral": ({"data": {"volume": "a1"}}, {"data": {"ephemeral": False}}, {"data": Volume("a1")}),
    "volume, by a variable": ({"data": {"volume": "a1"}}, {"data": {"ephemeral": "${YES}"}}, {"data": Ephemeral()}),
    "volume, not by a variable": ({"data": {"volume": "a1"}}, {"data": {"ephemeral": "${NO}"}}, {"data": Volume("a1")}),
    "ephemeral, path": ({"data": {"ephemeral": True}}, {"data": {"path": "x"}}, {"data": "specs/x"}),
    "ephemeral taken away": (
        {"data": {"ephemeral": True}},
        {"data": {"ephemeral": None}},
        {"data": Volume("shop-data")},
    ),
    "a volume that would not be read": (
        {"data": {"volume": "${UNSET}"}},
        {"data": {"ephemeral": True}},
        {"data": Ephemeral()},
    ),
    "a list": ({"initdb": ["a.sql", "b.sql"]}, {"initdb": ["../a.sql"]}, {"initdb": ["a.sql"]}),
    "a list of the base": ({"initdb": ["a.sql"]}, {}, {"initdb": ["a.sql"]}),
    "an empty mapping": ({"resources": {"memory": "1g"}}, {"resources": {}}, {}),
}


@pytest.mark.parametrize("case", SERVERS)
def test_what_wins_in_the_server(case: str, tmp_path: Path) -> None:
    base, child, wanted = SERVERS[case]
    for script in ("a.sql", "b.sql"):
        (tmp_path / script).touch()
    found = together(tmp_path, {"server": base}, {"server": child}, YES="true", NO="false").server
    for key, value in wanted.items():
        if key == "data" and isinstance(value, str):
            assert found.data == DataPath(tmp_path / value)
        elif key == "initdb":
            assert found.initdb == tuple(tmp_path / each for each in value)
        else:
            assert getattr(found, key) == value, key


@pytest.mark.parametrize(
    ("base", "child", "wanted"),
    [
        ({"file": "pw"}, {"generate": True}, PasswordGenerated()),
        ({"generate": True}, {"file": "pw"}, "specs/pw"),
        ({"file": "pw"}, None, "pw"),
        ({"file": "pw"}, {}, "pw"),
        ({"command": ["pass"]}, None, "command in ."),
        ({"file": "pw"}, {"command": ["pass"]}, "command in specs"),
        ("${PW}", {"generate": True}, PasswordGenerated()),
        ({"generate": True}, "${PW}", "value"),
        ({"file": "pw"}, {"file": None, "generate": True}, PasswordGenerated()),
    ],
)
@pytest.mark.parametrize("place", ["server", "role"])
def test_which_password(base: Any, child: Any, wanted: Any, place: str, tmp_path: Path) -> None:
    def put(password: Any) -> dict[str, Any]:
        entries = {} if password is None else {"password": password}
        if place == "server":
            return {"server": {"credentials": {"user": "postgres", **entries}}}
        return {"roles": {"app": {"login": True, **entries}}}

    found = together(tmp_path, put(base), put(child), PW=SECRET)
    password = found.server.password if place == "server" else found.roles["app"].password
    if wanted == "value":
        assert isinstance(password, PasswordValue)
    elif isinstance(password, PasswordCommand):
        assert wanted == f"command in {password.cwd.relative_to(tmp_path)}"
    elif isinstance(password, PasswordFile):
        assert password.path == tmp_path / wanted
    else:
        assert password == wanted


@pytest.mark.parametrize(
    ("base", "child", "script", "config"),
    [
        ({"script_location": "tree"}, {"target": "base"}, "tree", None),
        ({"script_location": "tree"}, {"script_location": "tree"}, "specs/tree", None),
        ({"script_location": "tree"}, {"config": "tree/alembic.ini"}, None, "specs/tree/alembic.ini"),
        ({"config": "tree/alembic.ini", "section": "other"}, {"script_location": "tree"}, "specs/tree", None),
        ({"config": "tree/alembic.ini"}, {"section": "other"}, None, "tree/alembic.ini"),
        ([{"name": "a", "script_location": "tree"}], {"script_location": "tree"}, "specs/tree", None),
    ],
)
@pytest.mark.parametrize("place", ["top", "database"])
def test_which_tree(base: Any, child: Any, script: str | None, config: str | None, place: str, tmp_path: Path) -> None:
    found = together(
        tmp_path,
        *(
            {"migrations": each} if place == "top" else {"databases": {"x": {"migrations": each}}}
            for each in (base, child)
        ),
    )
    (tree,) = found.migrations
    assert tree.script_location == (tmp_path / script if script else None)
    assert tree.config == (tmp_path / config if config else None)


def test_the_tree_of_a_package_starts_beside_its_file(tmp_path: Path) -> None:
    found = together(tmp_path, {"migrations": {"script_location": "app.db:migrations"}}, {})
    assert found.migrations[0].cwd == tmp_path


def test_what_is_absent_or_external_has_nothing_of_its_base(tmp_path: Path) -> None:
    roles = {"old": {"login": True, "comment": "x"}, "other": {"login": True}, "kept": {"comment": "a"}}
    databases = {"gone": {"owner": "kept"}, "shop": {"schemas": {"a": {"owner": "kept"}, "b": {"owner": "kept"}}}}
    found = together(
        tmp_path,
        {"roles": roles, "databases": databases, "server": {"database": "shop"}},
        {
            "roles": {
                "old": {"state": "absent", "drop_owned": True},
                "other": {"external": True},
                "kept": {"login": True},
            },
            "databases": {"gone": {"state": "absent"}, "shop": {"schemas": {"a": {"state": "absent"}}}},
        },
    )
    assert found.roles["old"].is_absent
    assert found.roles["other"].is_external
    assert (found.roles["kept"].comment, found.roles["kept"].login) == ("a", True)
    assert found.databases["gone"].is_absent
    assert {name: each.is_absent for name, each in found.databases["shop"].schemas.items()} == {"a": True, "b": False}


def test_the_environment_is_that_of_the_child(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WHERE=above\n")
    path = written(tmp_path, {**BASE, "roles": {"app": {"comment": "${WHERE}"}}}, {})
    (path.parent / ".env").write_text("WHERE=beside\n")
    found = load(path, {})
    assert (found.path, found.base, found.home) == (path, tmp_path / "base.yml", tmp_path / "specs/.provision/shop")
    assert found.roles["app"].comment == "beside"
    assert found.roles["app"].place == f"{tmp_path}/base.yml:5"
    (tmp_path / "values").write_text("WHERE=a file of the base\n")
    path = written(tmp_path, {**BASE, "env_file": "values", "roles": {"app": {"comment": "${WHERE}"}}}, {})
    assert load(path, {}).roles["app"].comment == "a file of the base"


def test_a_base_that_is_named_by_a_variable(tmp_path: Path) -> None:
    path = written(tmp_path, BASE, {})
    path.write_text("extends: ${WHICH}\n")
    path.with_name(".env").write_text("WHICH=../base.yml\n")
    assert load(path, {}).name == "shop"


GOOD = "name: shop\nserver:\n  image: postgres:17\n"


@pytest.mark.parametrize(
    ("base", "child", "said"),
    [
        (GOOD + "  prot: 5433\n", "server: {port: 1}", ["base.yml:4:3: unknown key `prot`"]),
        (
            GOOD + "  port: 1x\n",
            "server: {prot: 1}\nname: A",
            [
                "specs/dev.yml:2:10: unknown key `prot`",
                "specs/dev.yml:3:7: `name`: `A` is not a name for an environment",
                "base.yml:4:9: `port`: `1x` is not a port",
            ],
        ),
        (GOOD, "server:\n  initdb: null", ["specs/dev.yml:3:11: `initdb`: there is no value"]),
        (GOOD, "server: null", ["specs/dev.yml:1:1: the spec needs the key `server`"]),
        (GOOD, "server: {image: null}", ["specs/dev.yml:2:9: `server` needs the key `image`"]),
        (GOOD + "extends: more.yml\n", "name: x1", ["base.yml:4:1: dev.yml extends this file, so it cannot extend"]),
        (GOOD + "a: [", "name: A", ["base.yml:4:1: a value is missing here"]),
        ("- a\n", "name: A", ["base.yml:1:1: a spec is a mapping of keys, and this is a list"]),
        (GOOD + "name: x1\n", "name: x2", ["base.yml:4:1: duplicate key; line 1 has it already"]),
        (
            GOOD + "  initdb: a.sql\n",
            "server: {runtime: external, credentials: {password: '${HOME}'}}",
            [
                "specs/dev.yml:2:53: `password`: the environment variable `HOME` is not set",
                "base.yml:4:3: `initdb` has",
            ],
        ),
        (GOOD + "  initdb: missing.sql\n", "", ["base.yml:4:11: `initdb`: there is no file or directory"]),
    ],
)
def test_what_is_wrong_is_said_where_it_is(base: str, child: str, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.sql").touch()
    found = problems(tmp_path, base, child)
    assert len(found) == len(said), found
    assert [each[: len(wanted)] for each, wanted in zip(found, said, strict=True)] == said


def test_a_key_of_the_base_that_does_not_go_is_taken_away_in_the_child(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "  stop_timeout: 5s\n", "server: {runtime: external, credentials: {password: x}}")
    with pytest.raises(SpecError) as caught:
        load(path, {})
    (problem,) = caught.value.problems
    assert problem.suggestion == "remove it; or take it away in dev.yml: write the key there, with `null`"
    assert problem.text == "  stop_timeout: 5s"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("extends: bsae.yml", "there is no file `bsae.yml`"),
        ("extends: dev.yml", "a spec cannot extend itself"),
        ("extends: [a.yml, b.yml]", "this is a list, and must be a path"),
        ("extends:", "there is no value; it must be a path"),
        ("extends: .", "`.` is not a file"),
    ],
)
def test_a_base_that_is_none(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(GOOD)
    path = tmp_path / "dev.yml"
    path.write_text(f"{line}\n")
    with pytest.raises(SpecError) as caught:
        load(path, {})
    (problem,) = caught.value.problems
    assert problem.message == f"`extends`: {said}"
    if "bsae" in line:
        assert problem.suggestion == "did you mean `base.yml`?"


SET: dict[str, tuple[str, str]] = {
    "server.port=5433": "server.port = 5433",
    "server.port=auto": "server.port = None",
    "server.settings.work_mem=64MB": "server.settings['work_mem'] = '64MB'",
    "server.settings.WORK_MEM=64MB": "server.settings['work_mem'] = '64MB'",
    "server.settings.auto_explain.log_analyze=on": "server.settings['auto_explain.log_analyze'] = 'on'",
    "server.settings={work_mem: 64MB, jit: off}": "server.settings['jit'] = 'off'",
    "server.settings.log_line_prefix='%m = %p '": "server.settings['log_line_prefix'] = '%m = %p '",
    "server.settings=null": "server.settings.get('work_mem') = None",
    "server.data={ephemeral: true}": "server.data = Ephemeral()",
    "server.data.path=x": "server.data.path.name = 'x'",
    "server.credentials.user=me": "server.user = 'me'",
    "server.credentials.password=${PW}": "server.password.value.reveal() = 'x'",
    "server.credentials.password.file=x": "server.password.path.name = 'x'",
    "server.credentials.password={generate: true}": "server.password = PasswordGenerated()",
    'roles."a.b".login=true': "roles['a.b'].login = True",
    "roles.app.settings.search_path=[a, b]": "roles['app'].settings['search_path'] = ('a', 'b')",
    "roles.app.settings_in.shop.work_mem=1MB": "roles['app'].settings_in['shop'] = {'work_mem': ('1MB',)}",
    "migrations.env.DATABASE_URL={url}": "migrations[0].env['DATABASE_URL'].reveal() = '{url}'",
    "migrations.options.sqlalchemy.url={url}": "migrations[0].options['sqlalchemy.url'].reveal() = '{url}'",
    "name=other": "name = 'other'",
}
WHOLE = {
    "name": "shop",
    "server": {"image": "postgres:17", "settings": {"work_mem": "4MB"}, "data": {"volume": "shop"}, "database": "shop"},
    "roles": {"app": {}},
    "databases": {"shop": {}},
    "migrations": {"script_location": "tree"},
}


@pytest.mark.parametrize("override", SET)
def test_what_is_set(override: str, tmp_path: Path) -> None:
    if override.endswith("={url}"):
        override = override.replace("{url}", "'{url}'")
    place, _, value = SET[override.replace("'{url}'", "{url}")].partition(" = ")
    path = written(tmp_path, WHOLE, {"server": {"database": "shop"}})
    found = load(path, {"PW": "x"}, overrides=[override])
    names = {"Ephemeral": Ephemeral, "PasswordGenerated": PasswordGenerated, "found": found}
    assert eval(f"found.{place} == {value}", names)  # noqa: S307  # the table's own words


def test_the_last_override_wins_and_an_earlier_one_stays(tmp_path: Path) -> None:
    overrides = ["server.port=1", "server.settings.jit=off", "server.port=2", "server.settings.work_mem=null"]
    found = load(written(tmp_path, WHOLE, {}), {}, overrides=overrides)
    assert (found.server.port, found.server.settings) == (2, {"jit": "off"})


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("server.prot=5433", "--set:1:14: unknown key `prot`"),
        ("server.port=5x", "--set:1:19: `port`: `5x` is not a port"),
        ("server.port={a: 1}", "--set:1:19: `port`: this is a mapping"),
        ("server.port=[1", "--set:1:19: a bracket is not closed"),
        ("server.initdb=null", "--set:1:21: `initdb`: there is no value"),
        ("server.settings.work_mme=1", "--set:1:23: unknown setting `work_mme`"),
        ("server.initdb=no-such.sql", "--set:1:21: `initdb`: there is no file or directory `no-such.sql`"),
        ("sever.port=1", "--set:1:7: unknown key `sever`"),
    ],
)
def test_what_is_set_wrongly(override: str, said: str, tmp_path: Path) -> None:
    (found,) = problems(tmp_path, WHOLE, {}, override)
    assert found[: len(said)] == said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("server.port", "`server.port` is not a key with a value"),
        ("=x", "`` is not a key with a value"),
        (".a=x", "`.a` is not a key with a value"),
        ("a..b=x", "`a..b` is not a key with a value"),
        ("server.port=", "--set server.port= has no value"),
        ("server.credentials.passwordTr0ub4dor&3=", "--set ******** has no value"),
        ("extends=x.yml", "--set cannot change `extends`"),
        ("migrations.a=1\n", "--set takes one line of text"),
        ("databases.shop.grants.0.to=x", "`databases.shop.grants` is a list"),
    ],
)
def test_what_is_no_override(override: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, {**WHOLE, "databases": {"shop": {"grants": []}}}, {})
    with pytest.raises(UsageError) as caught:
        load(path, {}, overrides=[override])
    assert caught.value.sentence.startswith(said)


@pytest.mark.parametrize(
    "key",
    [
        "server.credentials.password={}",
        "server.credentials.pasword={}",
        "server.credentials={{user: me, password: {}}}",
        "server={{credentials: {{password: {}}}}}",
        "roles.app.password={}",
        "roles={{app: {{password: {}}}}}",
        "migrations.env.API_TOKEN={}",
        "migrations.env.URL=postgresql://me:{}@host/x",
        "migrations.command=[x, '--password={}']",
        "server.settings.primary_conninfo='host=x password={}'",
        "server.credentials.password=${{PW:-{}}}",
        "server.credentials.password=[{}]",
        "server.credentials.password:{}==",
        "server.credentials.password{}=x",
        "server.credentials.password.{}=x",
        "migrations.env.API_TOKEN:{}==",
    ],
)
def test_a_secret_is_refused_and_not_repeated(key: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, WHOLE, {}), {}, overrides=[key.format(SECRET)])
    assert "may hold a secret" in caught.value.sentence
    assert SECRET not in f"{caught.value.sentence}{caught.value.evidence}{caught.value.next_step}"


def test_a_number_is_a_password_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load(written(tmp_path, WHOLE, {}), {}, overrides=["server.credentials.password=1234"])


def test_what_a_program_sets(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE, {})
    given = {"server.port": 5433, "server.data": {"ephemeral": True}, "roles.app.comment": "no", "server.initdb": []}
    found = Environment(path, environ={}, set=given).spec
    assert (found.server.port, found.server.data, found.roles["app"].comment) == (5433, Ephemeral(), "no")
    assert Environment(path, environ={}, set=["server.port=5434"]).spec.server.port == 5434
    assert Environment(path, environ={}, set=given).made.server.port == 5433


def test_a_target_that_is_not_in_its_tree_is_said_where_it_is(tmp_path: Path) -> None:
    tree = {"script_location": "tree", "target": "00022"}
    path = written(tmp_path, {**BASE, "migrations": tree}, {})
    versions = tmp_path / "tree" / "versions"
    versions.mkdir()
    (versions / "a.py").write_text("revision = '0002'\ndown_revision = None\n")
    for overrides, wanted in (([], f"{tmp_path}/base.yml:6:12"), (["migrations.target=00023"], "--set:1:25")):
        with pytest.raises(SpecError) as caught:
            Environment(path, environ={}, set=overrides).validate()
        (problem,) = caught.value.problems
        assert f"{problem.path}:{problem.line}:{problem.column}" == wanted


def test_the_whole_spec_with_origins(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "server:\n  image: postgres:17\n  credentials:\n    password: {file: pw}\n  settings: {jit: off}\n",
        "name: shop\nserver:\n  port: 5433\nroles:\n  app: {login: true, password: hunter2}\n  'on': {}\n"
        "databases: {shop: {grants: [{to: app, on: {tables: public.*}, privileges: [select]}]}}\n"
        "templates_may: [root]\nenv_file: []\n",
    )
    found = Environment(path, environ={}, set=["roles.app.comment='a \"b\"'"]).effective()
    assert "\n".join(report.lines(found, path)) == WITH_ORIGINS.strip("\n")
    assert ("hunter2" in str(found), found[0].line, found[-1].path) == (False, 2, path)
    (_, image, *_) = report.document(found)
    assert image == {
        "key": ["server", "image"],
        "value": "postgres:17",
        "path": f"{tmp_path}/base.yml",
        "line": 2,
        "column": 10,
    }


WITH_ORIGINS = """
name: shop                  # dev.yml:2
server:
  image: postgres:17        # ../base.yml:2
  credentials:
    password:
      file: pw              # ../base.yml:4
  settings:
    jit: off                # ../base.yml:5
  port: 5433                # dev.yml:4
env_file: []                # dev.yml:10
templates_may:
  - root                    # dev.yml:9
roles:
  app:
    login: true             # dev.yml:6
    password: "********"    # dev.yml:6
    comment: 'a "b"'        # --set
  on: {}                    # dev.yml:7
databases:
  shop:
    grants:
      - to: app             # dev.yml:8
        on:
          tables: public.*  # dev.yml:8
        privileges:
          - select          # dev.yml:8
"""


def ran(directory: Path, *words: str, code: int = 0) -> program.Ran:
    done = program.run(*words, cwd=directory, environ={**os.environ, "HOME": str(directory)})
    assert done.code == code, done.all
    return done


@pytest.mark.parametrize(
    "rest", [f":{SECRET}=null", f":{SECRET}=x: y: z", f":{SECRET}={{", f":{SECRET}={{file: x}}", f".{SECRET}.file=x"]
)
def test_a_secret_in_a_key_is_not_shown_beside_what_is_wrong(rest: str, tmp_path: Path) -> None:
    override = f"server.credentials.password{rest}"
    done = ran(tmp_path, "validate", str(written(tmp_path, WHOLE, {})), "--set", override, code=65)
    assert "********" in done.all
    assert SECRET not in done.all


def test_a_base_is_validated_with_those_that_extend_it(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text("server: {image: postgres:17}\n")
    (tmp_path / "dev.yml").write_text("name: dev\nextends: ./base.yml  # what all share\n")
    (tmp_path / "other.yml").write_text("name: other\nextends: another.yml\n")
    assert ran(tmp_path, "validate", "base.yml").out.splitlines() == [
        "base.yml: no spec by itself; what it says is checked with dev.yml",
        "dev.yml: valid (dev, postgres:17)",
    ]
    (tmp_path / "base.yml").write_text("server: {image: postgres:17, prot: 1}\n")
    done = ran(tmp_path, "validate", "base.yml", "dev.yml", code=65)
    assert done.err.startswith("base.yml:1:30: unknown key `prot`")
    documents = ran(tmp_path, "validate", "--json", "base.yml", code=65).json()["specs"]
    assert [(each["spec"], each["valid"], each["environment"]) for each in documents] == [
        ("base.yml", True, None),
        ("dev.yml", False, None),
    ]


def test_a_name_that_two_whole_specs_share_is_remarked_on(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(GOOD)
    (tmp_path / "dev.yml").write_text("extends: base.yml\n")
    assert "`name` is that of base.yml: both specs are one environment" in ran(tmp_path, "validate", "dev.yml").out
    (tmp_path / "dev.yml").write_text("extends: base.yml\nname: dev\n")
    assert ran(tmp_path, "validate", "dev.yml").out == "dev.yml: valid (dev, postgres:17)\n"


def test_nothing_of_a_file_that_is_no_spec_is_shown(tmp_path: Path) -> None:
    for text in (f"machine x login y password {SECRET}\n", f"a: {SECRET}: b\n", f"- {SECRET}\n"):
        (tmp_path / "base.yml").write_text(text)
        (tmp_path / "dev.yml").write_text("extends: base.yml\nname: dev\n")
        done = ran(tmp_path, "validate", "--no-commands", "dev.yml", code=65)
        assert "base.yml:1:" in done.err
        assert SECRET not in done.all


def test_init_builds_around_what_the_base_says(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "base.yml").write_text("server: {image: postgres:17}\nmigrations: {script_location: tree}\n")
    (tmp_path / "provision.yml").write_text("extends: base.yml\nname: shop\n")
    ran(tmp_path, "init")
    assert sorted(each.name for each in tmp_path.iterdir() if each.name != ".cache") == [
        *(".gitignore", "base.yml", "provision.yml", "tree")
    ]
    (tmp_path / "provision.yml").write_text("extends: ../elsewhere.yml\nname: shop\n")
    assert "../elsewhere.yml, which the spec extends, was not read" in ran(tmp_path, "init").all
    assert not (tmp_path / "alembic.ini").exists()


def test_a_plan_says_what_to_type_with_what_is_set(tmp_path: Path) -> None:
    (tmp_path / "dev.yml").write_text(GOOD)
    done = ran(tmp_path, "validate", "dev.yml", "--set", "server.prot=1", code=65)
    assert done.err.splitlines() == [
        "--set: unknown key `prot`",
        "    --set server.prot=1",
        "                 ^",
        "    did you mean `port`?",
        "",
        "error: --set has 1 problem",
    ]
    done = ran(tmp_path, "url", "dev.yml", "--set", f"server.credentials.password={SECRET}", code=64)
    assert SECRET not in done.all
