"""`provision schema` and the program accept and refuse the same specs, key by key.

What a schema cannot say is in `EXCUSED`, with its reason: there the program refuses, and the schema need not.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import jsonschema
import pytest
import yaml
from support.law import LONG

from provision.apply import schema_file
from provision.errors import SpecError
from provision.schema import UNREAD
from provision.schema.readers import fragment, taken_apart
from provision.schema.sections import SECTIONS, TOP
from provision.schema.texts import texts
from provision.spec.connection import EXTERNAL_KEYS
from provision.spec.load import read
from provision.spec.modeline import MODELINE
from provision.spec.parameters import MAJORS, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.errors import Problem

ROOT = Path(__file__).parent.parent.parent
ENVIRON = {"HOME": "/home/me", "V": "value", "SHOP_PASSWORD": "hunter2", "PORT": "5433", "PW": "x"}
SCHEMA = schema_file.made()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)

EXCUSED = {
    "a schema sees no files": (
        r"there is no (file|directory)",
        r"cannot be (read|looked up)",
        r"`env.py`",
        r"is not a (file|script)",
        r"neither `docker-compose",
        r"password file does not exist",
        r"`~` is the home",
        r"directory of its own",
    ),
    "it does not look up what is declared elsewhere": (
        r"there is no (role|schema)",
        r"predefined role",
        r"names of `roles`",
        r"is everybody and not a role",
        r"`public` is everybody",
        r"no role can be called",
        r"is the role that provision logs in as",
        r"the schema `",
        r"member of itself",
        r"which is not one of",
        r"logs in",
        r"can(not)? log in",
        r"with `set: true`",
        r"form a circle",
        r"belongs to each",
    ),
    "it has no rule for keys that go together": (
        r"has (no|a) meaning",
        r"contradicts",
        r"needs (`|the password|`credentials|the client|TLS)",
        r"there are both",
        r"there are neither",
        r"says already",
        r"is in the list (already|twice)",
        r"the same setting",
        r"is not the database",
        r"databases .* and the spec does not say",
        r"have the name of others",
        r"are one tree",
        r"cannot be made from itself",
        r"`columns` belong",
        r"there is no privilege",
        r"`all` has the others",
        r"can only upgrade",
        r"there must be one source",
        r"the image does not say",
        r"as its only member",
        r"in `(connect|temporary)` of the database",
        r"is written below that",
        r"cannot be that of its migrations",
        r"goes with",
        r"names a section of `config`",
        r"no connection is allowed",
        r"one grant is on one",
        r"may not be set to",
        r"is declared too",
        r"is made elsewhere",
        r"has `state: absent`",
        r"has no password",
        r"have no connection",
        r"no certificate",
    ),
    "it does not see how a value is written: with quotes, as octal, in base 60": (
        r"YAML reads",
        r"octal",
        r"base 60",
    ),
    "it counts no bytes, and reads no numbers with units": (
        r"bytes",
        r"out of range",
        r"has no unit",
        r"is larger than",
    ),
    "it does not know what sounds like a secret": (r"secret",),
    "it knows no names that PostgreSQL or provision keep for themselves": (
        r"PostgreSQL's own",
        r"PostgreSQL itself",
        r"no superuser of PostgreSQL",
        r"template of",
        r"provision makes by itself",
        r"provision's own notes",
        r"is a template",
    ),
    "it does not see the environment": (r"the environment variable",),
    "two keys of one name are no JSON, and an editor reports them by itself": (r"duplicate key",),
    "it takes no names apart": (
        r"has no schema",
        r"cannot be read: ",
        r"is not the name of an object",
        r"is (not )?all of a schema",
    ),
    "it knows the major version for settings only": (
        r"`parameter`: ",
        r"exists? from PostgreSQL",
        r"can be granted from",
        r"have the option",
    ),
}
"""What the program refuses and the schema need not: the reason, and the program's words."""

VALUES = """
5 | 0 | -1 | 1.5 | 0.5 | 99999 | 70000000000 | true | "true" | off | word | "a b" | UPPER | ~ | "" | [] | [word] |
[word, word] | {} | {a: 1} | {a: {b: c}} | [[a]] | 16MB | 512m | 1.5g | 5s | 1h30m | 0s | "${V}" | "${V} x" | auto |
none | never | default | public | ./x | ~/x | ~other/x | postgres:17 | postgres:9.6 | postgis/postgis:16-3.4 | 17 | 13 |
example.com | 10.0.0.1 | "::1" | UTF8 | utf-8 | 2027-01-01T00:00:00Z | 2027-01-01 | head | "+1" | a.b | a=b | "x\\ny" |
[select] | [SELECT, alter_system] | all | {role: word} | {role: [word]} | {file: x} | {generate: true} |
{command: [a]} | {url: "{url}"} | {url: "{nope}"} | {1a: b} | app.py | app:prepare | postgresql+psycopg | psycopg |
yes | YES | absent | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
"""
POOL = [each.strip() for each in VALUES.replace("\n", " ").split(" | ")]
WORD = "word: {login: true}, a: {}, app: {login: true}"
BASE = {"name": "shop", "server": "{image: postgres:17}"}


def spec_with(title: str, key: str, value: str) -> str:
    """Return a spec that has `key: value` in a section, and what that needs to be right."""
    roles = f"roles: {{{WORD}}}"
    if title == TOP:
        return "\n".join(f"{name}: {text}" for name, text in {**BASE, key: value}.items())
    external = "runtime: external, credentials: {password: x}, " if key in EXTERNAL_KEYS else ""
    image = "" if (title, key) == ("server", "image") else "image: postgres:17, "
    absent = "state: absent, " if key in ("reassign_to", "drop_owned", "sessions") else ""
    place = "config: README.md, " if key == "section" else "script_location: 'app:migrations', "
    tree = "" if key in ("script_location", "config") else place
    which = "" if key in ("databases", "schemas") else "databases: {query: SELECT 1}, "
    grant = {"to": "public", "on": "{tables: s.*}", "privileges": "[select]"}
    if title == "databases.grants":
        grant[key] = value
    elif title == "databases.grants.on":
        grant["on"] = f"{{{'table: s.t, ' if key == 'columns' else ''}{key}: {value}}}"
        grant["privileges"] = "all"
    source = "" if key in ("sql", "csv", "command") else "csv: x.csv, run: changed, "
    source = "command: [a], " if key in ("run", "as") else source
    group = "" if key == "role" else "role: a, "
    entry = ", ".join(f"{name}: {text}" for name, text in grant.items())
    apis = {"api": "", "user": "api: 'http://a', password: x, ", "password": "api: 'http://a', user: x, "}
    api = apis.get(key, "api: 'http://a', ")
    within = {
        "server": f"server: {{{image}{external}{key}: {value}}}",
        "server.direct": "server: {image: postgres:17, runtime: external, credentials: {password: x}, "
        f"direct: {{{'' if key == 'host' else 'host: db, '}{key}: {value}}}}}",
        "server.credentials.password": f"server: {{{image}credentials: {{password: {{{key}: {value}}}}}}}",
        "migrations": f"migrations: {{{tree}{key}: {value}}}\n{roles}",
        "server.patroni": "server: {image: 'postgres:17', runtime: external, credentials: {password: x}, "
        f"patroni: {{{api}{key}: {value}}}}}",
        "migrations.tenants": f"migrations: {{{place}tenants: {{{which}{key}: {value}}}}}",
        "roles": f"roles: {{{WORD}, it: {{{absent}{key}: {value}}}}}",
        "roles.member_of": f"roles: {{{WORD}, it: {{member_of: [{{{group}{key}: {value}}}]}}}}",
        "databases": f"databases: {{shop: {{}}, it: {{{absent}{key}: {value}}}}}\n{roles}",
        "databases.schemas": f"databases: {{shop: {{schemas: {{it: {{{key}: {value}}}}}}}}}\n{roles}",
        "databases.extensions": "databases: {shop: {extensions: [{"
        f"{'' if key == 'name' else 'name: citext, '}{key}: {value}}}]}}}}\n",
        "databases.grants": f"databases: {{shop: {{grants: [{{{entry}}}]}}}}\n{roles}",
        "backup": f"backup: {{{key}: {value}}}",
        "seeds": f"seeds: [{{{source}{key}: {value}}}]\n{roles}",
        "databases.grants.on": f"databases: {{shop: {{grants: [{{{entry}}}]}}}}\n{roles}",
    }
    parent, _, last = title.rpartition(".")
    text = within.get(title) or f"{parent}: {{{image}{last}: {{{key}: {value}}}}}"
    database = ", database: shop" if "databases:" in text else ""
    return "name: shop\n" + ("" if text.startswith("server") else f"server: {{image: postgres:17{database}}}\n") + text


def problems(text: str, path: Path = ROOT / "spec.yml") -> tuple[Problem, ...]:
    try:
        read(path, text.encode(), ENVIRON, needs_password_file=True)
    except SpecError as error:
        return error.problems
    return ()


def is_excused(problem: Problem) -> bool:
    """Whether the schema need not refuse it; it never knows the value of a variable."""
    return "${" in problem.text or any(re.search(each, problem.message) for words in EXCUSED.values() for each in words)


CORE = (
    (r"~|null|Null|NULL|", lambda _: None),
    (r"true|True|TRUE", lambda _: True),
    (r"false|False|FALSE", lambda _: False),
    (r"[-+]?[0-9]+", int),
    (r"0o[0-7]+", lambda text: int(text, 0)),
    (r"0x[0-9a-fA-F]+", lambda text: int(text, 16)),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
)
"""What YAML 1.2 makes of a plain word, which is what editors do: https://yaml.org/spec/1.2.2/#1032-tag-resolution"""


def data(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): data(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [data(each) for each in node.value]
    assert isinstance(node, yaml.ScalarNode)
    made = next((make for words, make in CORE if node.style is None and re.fullmatch(words, node.value)), str)
    return made(node.value)  # type: ignore[operator]


def faults(text: str) -> list[str]:
    """Return what the schema finds, as YAML 1.2 reads the text."""
    found = data(yaml.compose(text, Loader=yaml.BaseLoader))
    return [f"{'.'.join(map(str, each.absolute_path))}: {each.message[:200]}" for each in VALIDATOR.iter_errors(found)]


def disagreement(text: str, path: Path = ROOT / "spec.yml") -> str:
    """Return how the two verdicts differ; empty where they agree."""
    refused, found = problems(text, path), faults(text)
    if found and not refused:
        return f"only the schema refuses {text!r}: {found}"
    strict = [each for each in refused if not is_excused(each)]
    if strict and not found:
        return f"only the program refuses {text!r}: {[each.message for each in strict]}"
    return ""


KEYS = [(title, name) for title, keys in SECTIONS.items() for name, key in keys.items() if key.read is not None]


IS_LONG = hypothesis.settings.get_current_profile_name() == LONG


@pytest.mark.parametrize("number", range(len(KEYS)), ids=lambda number: "-".join(KEYS[number]).replace(" ", "-"))
def test_a_key_may_be_what_the_program_takes(number: int) -> None:
    """Every day a third of the values are tried, another one for each key, and all of them in `make test-long`."""
    values = POOL if IS_LONG else POOL[number % 3 :: 3]
    verdicts = [disagreement(spec_with(*KEYS[number], value)) for value in values]
    assert [each for each in verdicts if each] == []


IN_LISTS = ("roles.member_of", "databases.extensions", "databases.grants", "databases.grants.on", "seeds")


def test_a_spec_that_extends_another_takes_keys_away(tmp_path: Path) -> None:
    """Each key of a mapping that the base may have; what is in a list, or needed, is another matter."""
    place, base, tried = tmp_path / "dev.yml", tmp_path / "base.yml", 0
    for title, key in KEYS:
        if title in IN_LISTS or key in ("extends", "env_file", "reassign_to", "drop_owned", "sessions"):
            continue  # the last go with `state: absent`, which takes the place of all others
        every = (spec_with(title, key, value) for value in POOL[:24])
        if (text := next((each for each in every if not problems(each, base)), None)) is not None:
            base.write_text(text)
            taken = spec_with(title, key, "~") if title != TOP else f"{key}: ~"
            assert not faults(f"extends: base.yml\n{taken}"), (title, key)
            refused = problems(f"extends: base.yml\n{taken}", place)
            assert not [each for each in refused if "there is no value" in each.message], (title, key)
            tried += 1
    assert tried > len(KEYS) / 3


@pytest.mark.long
def test_the_values_tell_something_about_each_key() -> None:
    """Some are right and some wrong for each key; else its test could not fail."""
    for title, key in KEYS:
        refused = (problems(spec_with(title, key, value)) for value in POOL)
        if (title, key) == ("databases.grants.on", "parameter"):
            continue  # the names of settings, which have a test of their own
        assert len({any(not is_excused(each) for each in found) for found in refused}) == 2, (title, key)


SETTING_VALUES = [
    "boot",
    "min",
    "max",
    "above",
    "below",
    "word",
    "true",
    "off",
    "16MB",
    "5min",
    "1.25",
    "[a]",
    "~",
    "default",
]
SOME = 90
"""So many settings at a time: of a hundred problems no more are shown."""


def setting(major: int, name: str, value: str) -> str:
    parameter = catalogue(major)[name]
    ends = {"boot": parameter.boot, "min": parameter.minimum, "max": parameter.maximum}
    if value in ends:
        return json.dumps(ends[value] or "") if parameter.vartype == "string" else ends[value] or "1"
    if value in ("above", "below"):
        end = parameter.maximum if value == "above" else parameter.minimum
        return f"{float(end) + (1 if value == 'above' else -1):.0f}" if end else "1"
    return value


@pytest.mark.parametrize("sessions", [False, True], ids=["server", "sessions"])
@pytest.mark.parametrize("major", MAJORS)
def test_a_setting_may_be_what_the_program_takes(major: int, sessions: bool) -> None:  # noqa: FBT001
    names = [
        *catalogue(major),
        *(name for name in catalogue(MAJORS[-1]) if name not in catalogue(major)),
        "a.b",
        "wrok_mem",
    ]
    before = f"name: shop\nserver:\n  image: postgres:{major}\n  settings:\n"
    if sessions:
        before = f"name: shop\nserver: {{image: 'postgres:{major}'}}\nroles:\n it:\n  settings:\n"
    places = (
        ["settings-of-sessions", f"settings-of-sessions-{major}"] if sessions else ["settings", f"settings-{major}"]
    )
    properties = {name: each for place in places for name, each in SCHEMA["definitions"][place]["properties"].items()}
    denied = {name for name, each in properties.items() if each is False}
    for value in SETTING_VALUES if IS_LONG else SETTING_VALUES[major % 3 :: 3]:
        for some in (names[start : start + SOME] for start in range(0, len(names), SOME)):
            texts = [setting(major, name, value) if name in catalogue(major) else "1" for name in some]
            text = before + "".join(f"    {name}: {each}\n" for name, each in zip(some, texts, strict=True))
            first = before.count("\n") + 1
            refused = {some[each.line - first] for each in problems(text) if not is_excused(each)}
            excused = {some[each.line - first] for each in problems(text) if is_excused(each)}
            found = data(yaml.compose(text, Loader=yaml.BaseLoader))
            wrong = {name for each in VALIDATOR.iter_errors(found) for name in named_in(each, denied & {*some})}
            assert wrong - excused == refused - excused, (value, wrong ^ refused)


def named_in(error: jsonschema.ValidationError, denied: set[str]) -> set[str]:
    """Return the settings that an error is about: one, those that are no properties, or those that can never be."""
    if error.schema is False:
        return denied  # the error does not say which
    path = [str(each) for each in error.absolute_path]
    return {path[-1]} if path[-1] != "settings" else {name for name in error.instance if f"'{name}'" in error.message}


SPECS = [*(ROOT / "specs").glob("*.yml"), *(ROOT / "tests" / "tables" / "spec").glob("*.yml")]
SHOWN = re.findall(
    r"```yaml(?: defaults)?\n(.*?)```", (ROOT / "docs" / "spec.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_a_spec_has_one_verdict(path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    try:
        data(yaml.compose(text, Loader=yaml.BaseLoader))
    except (yaml.YAMLError, AssertionError, RecursionError):
        return  # no data, so there is nothing to judge
    assert disagreement(text, path) == ""


@pytest.mark.parametrize("text", SHOWN)
def test_an_example_of_the_page_is_right(text: str) -> None:
    given = yaml.safe_load(text)
    missing = {"name": "name: shop\n", "server": "server: {image: postgres:17}\n"}
    assert faults(text + "".join(line for key, line in missing.items() if key not in given)) == []


def test_every_key_and_every_setting_has_a_text() -> None:
    said = texts((ROOT / "docs" / "spec.md").read_text(encoding="utf-8"))
    for title, key in KEYS:
        properties = SCHEMA["properties"] if title == TOP else SCHEMA["definitions"][title]["properties"]
        assert properties[key]["markdownDescription"].startswith(said[title][key].markdown[:20])
        assert properties[key]["description"]
    names = {name for major in MAJORS for name in catalogue(major)}
    assert len(names) >= 408
    for name in names:
        text = SCHEMA["definitions"]["setting"][name]["description"]
        assert "A change " in text or "annot be set" in text, name


def test_every_reader_is_described() -> None:
    unread = {(title, name) for title, name in KEYS if taken_apart(SECTIONS[title][name].read).name == "reading.unread"}
    others = [(title, name) for title, name in KEYS if (title, name) not in {*unread, ("server", "settings")}]
    missing = [each for each in others if not fragment(SECTIONS[each[0]][each[1]].read)]
    assert missing == [], "add what their readers take to provision/schema/readers.py"
    assert unread <= UNREAD.keys(), "add what they are to provision/schema/__init__.py"


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    found = re.findall(r'"\$ref": "#/definitions/([^"]+)"', json.dumps(SCHEMA))
    for name in found:
        place: Any = SCHEMA["definitions"]
        for step in name.split("/"):
            place = place[step]
    assert found


def patterns(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [value["pattern"]] if isinstance(value.get("pattern"), str) else []
        yield from value.get("patternProperties") or ()
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from patterns(each)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node, which editors read expressions with")
def test_every_expression_is_one_of_javascript() -> None:
    program = "for (const each of JSON.parse(require('fs').readFileSync(0))) new RegExp(each, 'u')"
    given = json.dumps(sorted({*patterns(SCHEMA)}))
    done = subprocess.run(["node", "-e", program], input=given, text=True, capture_output=True, check=False)
    assert done.stderr == ""


def test_the_modeline_is_the_one_of_the_template() -> None:
    assert (ROOT / "templates" / "init" / "provision.yml.j2").read_text(encoding="utf-8").startswith(f"{MODELINE}\n")
