"""Which environment a checkout has: worktrees of real repositories, and the names that follow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from provision.environment import Environment
from provision.errors import SpecError
from provision.spec.identity import in_worktree
from provision.spec.load import load, read
from provision.spec.model import DataPath, Volume, Worktree
from provision.system import files, git as checkout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.spec.model import Spec

SPEC = "name: shop-dev\nserver: {image: postgres:17}\n"
TREE = Worktree("feature", Path("/srv/feature"), Path("/srv/shop"))


def git(directory: Path, *words: str) -> None:
    """Run git in a directory, as nobody in particular."""
    who = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    who |= {f"GIT_{each}_{what}": "x@y" for each in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    words = ("-c", "protocol.file.allow=always", *words)
    subprocess.run(("git", "-C", str(directory), *words), check=True, capture_output=True, env={**os.environ, **who})


def repository(place: Path, *options: str) -> Path:
    """Make a repository with one commit, in which is a spec."""
    place.mkdir(parents=True)
    git(place, "init", "--quiet", *options)
    (place / "specs").mkdir()
    (place / "specs" / "dev.yml").write_text(SPEC)
    git(place, "add", ".")
    git(place, "commit", "--quiet", "-m", "a spec")
    return place


def of(directory: Path) -> Worktree | None:
    """Return the worktree that a directory is in."""
    mark = files.git_file(directory)
    return None if mark is None else checkout.of(mark)


def test_a_main_checkout_is_no_worktree_and_a_linked_one_is(tmp_path: Path) -> None:
    main = repository(tmp_path / "shop")
    git(main, "worktree", "add", "../feature")
    git(main, "worktree", "add", "../elsewhere/feature", "-b", "other")
    assert of(main / "specs") is None
    assert of(tmp_path / "feature" / "specs") == Worktree("feature", tmp_path / "feature", main)
    assert of(tmp_path / "elsewhere" / "feature") == Worktree("feature1", tmp_path / "elsewhere" / "feature", main)
    assert of(tmp_path) is None


def test_paths_may_be_relative_and_the_repository_out_of_reach(tmp_path: Path) -> None:
    main = repository(tmp_path / "shop")
    git(main, "worktree", "add", "../feature")
    mark = tmp_path / "feature" / ".git"
    mark.write_text("gitdir: ../shop/.git/worktrees/feature\n")  # worktree.useRelativePaths, since Git 2.48
    assert of(tmp_path / "feature") == Worktree("feature", tmp_path / "feature", main)
    mark.write_text("gitdir: /nowhere/shop/.git/worktrees/feature\n")
    assert of(tmp_path / "feature") == Worktree("feature", tmp_path / "feature", None)


def test_a_bare_repository_has_no_main_checkout(tmp_path: Path) -> None:
    main = repository(tmp_path / "shop")
    git(tmp_path, "clone", "--quiet", "--bare", str(main), "all/.git")
    git(tmp_path / "all" / ".git", "worktree", "add", "../feature", "-b", "feature")
    assert of(tmp_path / "all" / "feature") == Worktree("feature", tmp_path / "all" / "feature", None)


def test_a_repository_elsewhere_is_no_worktree(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    main = repository(tmp_path / "shop", "--separate-git-dir", str(tmp_path / "modules" / "shop.git"))
    assert (main / ".git").is_file()
    assert of(main) is None
    git(main, "worktree", "add", "../feature")
    assert of(tmp_path / "feature") == Worktree("feature", tmp_path / "feature", None)


def test_a_submodule_is_none_but_belongs_to_the_worktree_around_it(tmp_path: Path) -> None:
    main, part = repository(tmp_path / "shop"), repository(tmp_path / "part")
    git(main, "submodule", "--quiet", "add", str(part), "part")
    git(main, "commit", "--quiet", "-m", "a part")
    git(main, "worktree", "add", "../feature")
    git(tmp_path / "feature", "submodule", "--quiet", "update", "--init")
    assert (tmp_path / "feature" / "part" / "specs").exists()
    assert of(main / "part") is None
    assert of(tmp_path / "feature" / "part") == Worktree("feature", tmp_path / "feature", main)
    git(main / "part", "worktree", "add", "../../fix")
    assert of(tmp_path / "fix") == Worktree("fix", tmp_path / "fix", main / "part")


@pytest.mark.parametrize(
    ("name", "worktree", "expected"),
    [
        ("shop-dev", "feature", "shop-dev--feature"),
        ("shop-dev", "Fix.Login", "shop-dev--fix-login"),
        ("shop-dev", "größe", "shop-dev--gr-e"),
        ("shop-dev", "日本", "shop-dev--c650ee"),
        ("shop-dev", "a" * 38, f"shop-dev--{'a' * 38}"),
        ("shop-dev", "a" * 39, f"shop-dev--{'a' * 31}-2c0cfc"),
        ("s" * 48, "feature", f"{'s' * 41}-bcc92e"),
    ],
)
def test_the_name_is_valid_and_has_48_characters_at_most(name: str, worktree: str, expected: str) -> None:
    assert in_worktree(name, worktree) == expected
    assert len(expected) <= 48


def spec(text: str = SPEC, tree: Worktree | None = TREE, environ: Mapping[str, str] | None = None) -> Spec:
    """Read a spec in a worktree."""
    return read(Path("/srv/feature/specs/dev.yml"), text.encode(), environ or {}, worktree=tree)


def wrong(text: str = SPEC, **how: Any) -> str:
    """Return what is said of a spec that is wrong."""
    with pytest.raises(SpecError) as raised:
        spec(text, **how)
    said = raised.value
    return "\n".join(
        f"{each.path}:{each.line}:{each.column}: {each.message}; {each.suggestion}" for each in said.problems
    )


def test_what_the_engine_has_follows_the_name() -> None:
    found = spec()
    server = found.server
    assert (found.name, server.container_name, server.data) == (
        *["shop-dev--feature"] * 2,
        Volume("shop-dev--feature-data"),
    )
    assert (server.port, server.first_port) == (None, 5433)
    declared = spec("name: s-1\nserver: {image: postgres:17, container_name: db, port: 7000, data: {volume: rows}}\n")
    assert declared.server.container_name == "db--feature"
    assert declared.server.data == Volume("rows--feature")
    assert declared.server.first_port == 7001
    assert spec("name: s-1\nserver: {image: postgres:17, port: auto}\n").server.first_port is None


def test_a_variable_is_the_whole_name() -> None:
    found = spec(environ={"PROVISION_NAME": "mine"}, tree=None)
    server = found.server
    assert (found.name, server.container_name, server.data) == ("mine", "mine", Volume("mine-data"))
    assert (server.port, server.first_port) == (None, 5433)
    declared = "name: s-1\nserver: {image: postgres:17, container_name: db}\n"
    assert spec(declared, environ={"PROVISION_NAME": "mine"}).server.container_name == "db--mine"
    assert spec(environ={"PROVISION_NAME": "shop-dev"}, tree=None).server.first_port == 5432
    assert "`PROVISION_NAME`, which is used in place of `name`" in wrong(environ={"PROVISION_NAME": "Not A Name"})


def test_a_shared_environment_is_that_of_the_main_checkout() -> None:
    found = spec("identity: shared\n" + SPEC)
    assert (found.name, found.server.port) == ("shop-dev", 5432)
    assert found.home == Path("/srv/shop/specs/.provision/shop-dev")
    found = spec("identity: shared\nname: s-1\nserver: {image: postgres:17, data: {path: ./data}}\n")
    assert found.server.data == DataPath(Path("/srv/shop/specs/data"))
    found = spec("identity: shared\nname: s-1\nserver: {image: postgres:17, data: {path: ../data}}\n")
    assert found.server.data == DataPath(Path("/srv/shop/data"))
    assert spec("identity: shared\n" + SPEC, tree=None).home == Path("/srv/feature/specs/.provision/shop-dev")
    assert "no main checkout" in wrong("identity: shared\n" + SPEC, tree=TREE._replace(main=None))


def test_any_path_into_the_worktree_leads_to_the_main_checkout(tmp_path: Path) -> None:
    tree = Worktree("feature", tmp_path / "feature", tmp_path / "shop")
    tree.root.mkdir()
    (tmp_path / "link").symlink_to("feature")
    for each in ("link/data", "feature/./data/", "link/../feature/data", "shop/data"):
        text = f"identity: shared\nname: s-1\nserver: {{image: postgres:17, data: {{path: {tmp_path}/{each}}}}}\n"
        found = read(tree.root / "dev.yml", text.encode(), {}, worktree=tree).server.data
        assert found == DataPath(tmp_path / "shop" / "data")


def test_a_shared_environment_has_the_scripts_of_the_main_checkout(tmp_path: Path) -> None:
    main, text = (
        repository(tmp_path / "shop"),
        "identity: shared\nname: s-1\nserver: {image: postgres:17, initdb: ../sql}\n",
    )
    git(main, "worktree", "add", "../feature")
    for each in (main, tmp_path / "feature"):
        (each / "sql").mkdir()
        (each / "sql" / "a.sql").write_text("SELECT 1")
    (tmp_path / "feature" / "sql" / "b.sql").write_text("SELECT 1")
    path = tmp_path / "feature" / "specs" / "dev.yml"
    found = read(path, text.encode(), {}, worktree=of(path.parent)).server.initdb
    assert found == (main / "sql" / "a.sql", tmp_path / "feature" / "sql" / "b.sql")


@pytest.mark.parametrize("path", ["/var/lib/shop", "../../data"])
def test_data_that_all_checkouts_would_have_is_refused(path: str) -> None:
    text = f"name: s-1\nserver:\n  image: postgres:17\n  data: {{path: {path}}}\n"
    said = wrong(text)
    assert "dev.yml:4:16: `path`: the directory is outside of this Git worktree" in said
    assert "`identity: shared`" in said
    assert spec(text, tree=None).name == "s-1"


def test_data_within_the_worktree_is_its_own() -> None:
    found = spec("name: s-1\nserver: {image: postgres:17, data: {path: ../data}}\n")
    assert found.server.data == DataPath(Path("/srv/feature/data"))


def test_an_external_server_is_the_same_everywhere() -> None:
    text = 'name: s-1\nserver: {runtime: external, image: postgres:17, credentials: {password: "x"}}\n'
    assert (spec(text).name, spec(text).server.port) == ("s-1", 5432)


def test_what_was_made_in_a_worktree_keeps_its_name(tmp_path: Path) -> None:
    main = repository(tmp_path / "shop")
    git(main, "worktree", "add", "../feature")
    path = tmp_path / "feature" / "specs" / "dev.yml"
    home = path.parent / ".provision" / "shop-dev"
    home.mkdir(parents=True)
    assert Environment(path)._read().name == "shop-dev"  # nothing asks an engine
    (home / "docker-compose.yml").write_text(f"labels: {{provision.directory: {main / 'specs'}}}\n")
    assert Environment(path)._read().name == "shop-dev--feature"  # it was copied with its checkout
    (home / "docker-compose.yml").write_text(f"labels: {{provision.directory: {path.parent}}}\n")
    assert Environment(path)._read().name == "shop-dev"
    (home.parent / "shop-dev--feature").mkdir()
    assert Environment(path)._read().name == "shop-dev--feature"


def test_runs_at_once_never_choose_the_same_port() -> None:
    script = (
        "from provision.system.ports import next_port; print(next_port('127.0.0.1', 'x', 23970), flush=True); input()"
    )
    argv = (sys.executable, "-c", script)
    running = [subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) for _ in range(8)]
    ports = [each.stdout.readline() for each in running if each.stdout is not None]
    for each in running:
        each.communicate("\n")
    assert len(set(ports)) == 8


def test_the_port_of_the_main_checkout_is_left_to_it(tmp_path: Path) -> None:
    tree = Worktree("feature", tmp_path / "feature", tmp_path / "shop")
    path = tree.root / "specs" / "dev.yml"
    path.parent.mkdir(parents=True)
    path.write_text(SPEC)
    server = load(path, {}, worktree=tree).server
    assert server.first_port == 5433
    assert [port for port in (5431, 5432, 5433, 6000, 7000) if server.may_have(port)] == [5432, 5433, 6000]
