"""Files of variables: their grammar, which is Compose's, and which value a spec gets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from provision.errors import SpecError
from provision.spec import variables
from provision.spec.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from provision.spec.model import Spec

READ = {
    "A=x": "x",
    "A='x'": "x",
    'A="x"': "x",
    "A: x": "x",
    "A = x  ": "x",
    "A=": "",
    "A=\nB=y": "",
    "A=\tx": "x",
    "A=a=b:c": "a=b:c",
    "export A=x y z": "x y z",
    "\ufeffA=x\r\nB=y\r\n": "x",
    "# c\n\n  A=x\nA=y": "y",
    "A=x # c": "x",
    "A=x# c": "x# c",
    "A=#x": "#x",
    'A="x # c" # d': "x # c",
    "A=s3cr#t p@ss": "s3cr#t p@ss",
    "B=x\nA=$B-${B}": "x-x",
    "A='$B'\nB=x": "$B",
    "A='Let\\'s go!'": "Let's go!",
    'A="{\\"a\\": 1}"': '{"a": 1}',
    "A='x\\ty'": "x\\ty",
    'A="x\\ty\\n"': "x\ty\n",
    'A="\\0101 \\\\ \\q"': "A \\ \\q",
    "A=x\\ty": "x\\ty",
    "A='one\ntwo'": "one\ntwo",
    'A="one\ntwo"': "one\ntwo",
    "A=${B:-d}${B-e}": "de",
    "B=\nA=${B:-d}${B-e}": "d",
    "B=1\nA=${B:+r}${C+s}": "r",
    "A=${B:-${C:-nested}}": "nested",
    "A=$$x": "$x",
    'A="\\$x"': "$x",
    "A=p$1 $": "p$1 $",
    "A=$SHELL_HAS_IT": "of the shell",
    "SHELL_HAS_IT=file\nA=$SHELL_HAS_IT": "of the shell",
    "A.B=c\nA-B=d\nA=1": "1",
}
REFUSED = {
    "B=1\nA b=c": "line 2: it is not written as NAME=value",
    "=x": "line 1: it is not written as NAME=value",
    "\n\nA='x": "line 3: a value has no ' at its end",
    "A=${": "line 1: `${` begins a variable",
    "A=${1}": "line 1: `${` begins a variable",
    "A=${B:?no B}": "line 1: the variable B has to be set",
}
KNOWN = {"SHELL_HAS_IT": "of the shell"}
SPEC = 'name: shop\nserver: {image: "postgres:${MAJOR:-16}", port: 28838, database: "${DATABASE:-lost}"}\n'


@pytest.mark.parametrize("text", READ, ids=ascii)
def test_a_file_is_read(text: str) -> None:
    found = variables.parse(text, KNOWN)["A"]
    assert found == READ[text]


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
def test_a_file_that_compose_refuses(text: str) -> None:
    with pytest.raises(variables.MalformedError, match=r"^line \d+: ") as refused:
        variables.parse(text, KNOWN)
    assert REFUSED[text] in str(refused.value)


@pytest.mark.docker
def test_compose_reads_the_same(tmp_path: Path) -> None:
    """Each case is the file of one service; what Compose makes of all of them is one document."""
    if shutil.which("docker") is None:
        pytest.skip("there is no docker")
    for number, text in enumerate(READ):
        (tmp_path / f"{number}.env").write_bytes(text.encode())
    services = {f"s{number}": {"image": "x", "env_file": f"{number}.env"} for number in range(len(READ))}
    (tmp_path / "compose.yaml").write_text(json.dumps({"services": services}))
    argv = ("docker", "compose", "-f", str(tmp_path / "compose.yaml"), "config", "--format", "json")
    done = subprocess.run(argv, capture_output=True, check=True, env={"PATH": "/usr/bin:/bin", "HOME": "/", **KNOWN})
    made = json.loads(done.stdout)["services"]
    theirs = {text: made[f"s{number}"]["environment"]["A"].replace("$$", "$") for number, text in enumerate(READ)}
    assert theirs == READ


def spec(directory: Path, text: str = SPEC, **environ: str) -> Spec:
    path = directory / "provision.yml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ)


def told(directory: Path, text: str, **environ: str) -> str:
    with pytest.raises(SpecError) as caught:
        spec(directory, text, **environ)
    return "\n".join(f"{each.line}: {each.message}; {each.suggestion}" for each in caught.value.problems)


def test_the_file_beside_the_spec_fills_variables(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAJOR=17\nexport DATABASE='found'\nUNUSED=1\n")
    found = spec(tmp_path)
    assert (found.server.image, found.server.database) == ("postgres:17", "found")
    assert found.variables == (("DATABASE", tmp_path / ".env"), ("MAJOR", tmp_path / ".env"))


def test_the_environment_comes_first(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAJOR=17\nDATABASE=found\n")
    found = spec(tmp_path, MAJOR="18", DATABASE="")
    assert (found.server.image, found.server.database) == ("postgres:18", "lost")
    assert found.variables == ()


def test_other_files_take_its_place(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE=of-the-default\n")
    (tmp_path / "one.env").write_text("MAJOR=17\nDATABASE=one\n")
    (tmp_path / "two.env").write_text("DATABASE=${MAJOR}-two\n")
    assert spec(tmp_path, f"env_file: one.env\n{SPEC}").server.database == "one"
    found = spec(tmp_path, f"{SPEC}env_file: [one.env, ./two.env]\n")
    assert (found.server.image, found.server.database) == ("postgres:17", "17-two")
    assert spec(tmp_path, f"env_file: []\n{SPEC}").server.database == "lost"
    assert spec(tmp_path, f"env_file: ${{STAGE}}.env\n{SPEC}", STAGE="one").server.database == "one"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "there is no file `no.env`" in told(tmp_path, f"env_file: no.env\n{SPEC}")
    (tmp_path / "bad.env").write_text("A=1\nMAJOR\x00\n")
    assert "`bad.env` cannot be read: line 2: it is not written as" in told(tmp_path, f"env_file: bad.env\n{SPEC}")
    (tmp_path / ".env").write_text("not a variable\n")
    assert "cannot be read: line 1: it is not written as" in told(tmp_path, SPEC.replace("${MAJOR:-16}", "${MAJOR}"))
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    assert "it is not UTF-8" in told(tmp_path, SPEC.replace("${MAJOR:-16}", "${MAJOR}"))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    assert spec(tmp_path).server.database == "lost"
    assert "`.env` cannot be read: it is not a file" in told(
        tmp_path, SPEC.replace("${MAJOR:-16}", "${MAJOR}")
    ).replace(str(os.path.relpath(tmp_path)) + "/", "")


def test_a_virtual_environment_of_that_name_is_no_file_of_variables(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert spec(tmp_path).server.database == "lost"
    assert "set it in your shell" in told(tmp_path, SPEC.replace("${MAJOR:-16}", "${MAJOR}"))


def test_what_is_advised_sets_no_password_when_it_is_pasted(tmp_path: Path) -> None:
    text = 'name: shop\nserver: {image: "postgres:17", credentials: {password: "${PW}"}}\n'
    advice = told(tmp_path, text)
    assert "`read -rs PW && export PW` asks for it" in advice
    assert "…" not in advice


def test_a_variable_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    text = 'name: shop\nserver: {image: "postgres:17", credentials: {password: "${PW}"}}\n'
    assert "the variable `PW` is not UTF-8" in told(tmp_path, text, PW="bad\udcff")


@pytest.mark.parametrize(
    ("known", "meant"), [("SHOP_PASSWORD", "did you mean `SHOP_PASSWORD`? If not, "), ("DB_PASSWORD", "`read -rs")]
)
def test_a_mistyped_variable_is_suggested(tmp_path: Path, known: str, meant: str) -> None:
    path = tmp_path / "spec.yml"
    path.write_text(
        "name: a\nserver:\n  image: postgres:17\n  credentials: {password: '${SHOP_PASWORD}'}\n", encoding="utf-8"
    )
    with pytest.raises(SpecError) as caught:
        load(path, {known: "x"})
    found = [each.suggestion for each in caught.value.problems if "SHOP_PASWORD" in each.message]
    assert [(each or "")[: len(meant)] for each in found] == [meant]
