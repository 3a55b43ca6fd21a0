"""Whatever decides what is in the data is changed, one by one: each time the golden does not fit, and that is said."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import reading_project as project
from support.embedded import Embedded, an_embedded_environment, an_open_directory

from provision import Environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Change = Callable[[Embedded], Any]

VARIABLES = {"APP_PW": "secret of app", "SHOP": "42"}


class Checkouts:
    """Checkouts of one project; a golden was made from the first."""

    def __init__(self, root: Path, first: Embedded) -> None:
        self._root, self._first, self._count = root, first, 0

    def another(self) -> Embedded:
        """Return another checkout, with an environment of its own name."""
        self._count += 1
        target = self._root / f"checkout{self._count}"
        project.copy(self._first.directory, target)
        made = Embedded(target, f"{self._first.name}-{self._count}")
        made.environ = dict(self._first.environ)
        document = {**self._first.document, "name": made.name}
        made.document = document
        made.declare()
        return made

    def begun(self, checkout: Embedded) -> str:
        """Say what new data of a checkout would begin with: the golden in words, else why none fits."""
        begun = Environment(checkout.spec, environ=checkout.environ).survey().begun
        assert begun is not None
        if begun.key and begun.level == 1:
            return begun.text.partition("…")[2].lstrip(", ") or "exact"
        return "; ".join(begun.rejected).partition(": ")[2]


@pytest.fixture(scope="module")
def checkouts() -> Iterator[Checkouts]:
    with an_open_directory() as root, an_embedded_environment(root / "first") as first:
        first.environ |= {"PROVISION_GOLDEN": "auto", "XDG_CACHE_HOME": str(root / "cache"), **VARIABLES}
        first.declare(project.make(first.directory))
        first.run("apply", "--golden")
        yield Checkouts(root, first)


def writes(name: str, text: str) -> Change:
    return lambda at: project.write(at.directory, {name: text})


def appends(name: str, text: str = "# changed\n") -> Change:
    def change(at: Embedded) -> None:
        path = at.directory / name
        path.write_text(path.read_text() + text)

    return change


def declares(**changes: Any) -> Change:
    return lambda at: at.declare(changes)


def sets(**variables: str) -> Change:
    return lambda at: at.environ.update(variables)


def upgrades_a_package(at: Embedded) -> None:
    old = project.packages(at.directory) / "shop_words-1.0.dist-info"
    old.rename(old.with_name("shop_words-2.0.dist-info"))


def leads_elsewhere(at: Embedded) -> None:
    with (project.packages(at.directory) / "ours.pth").open("a") as file:
        file.write("/srv/other\n")


def reinstalls_a_package(at: Embedded) -> None:
    record = {"shop_local-1.0.dist-info/RECORD": "shop_local.py,sha256=two,1\n"}
    project.write(project.packages(at.directory), record)


THIRD = project.FILES["migrations/versions/r2.py"].replace('"r2", "r1"', '"r3", "r2"').replace("second", "third")

NO_GOLDEN: dict[str, tuple[Change, str]] = {
    "a module that a revision imports": (appends("app/models.py"), "app/models.py is not as it was when code read it"),
    "a module that this one imports": (appends("app/words.py"), "app/words.py is not as it was when code read it"),
    "a module is gone": (lambda at: (at.directory / "app/words.py").unlink(), "app/words.py is not as it was"),
    "env.py": (appends("migrations/env.py"), "migrations/alembic: file migrations/env.py differs"),
    "a helper beside env.py": (appends("migrations/helper.py"), "file migrations/helper.py differs"),
    "a new helper beside env.py": (writes("migrations/more.py", ""), "file migrations/more.py differs"),
    "prepare": (appends("prepare.py"), "file prepare.py differs"),
    "a file that a revision opens": (appends("data/notes.txt", "two\n"), "data/notes.txt is not as it was"),
    "a file in a directory that a revision lists": (writes("sql/2.sql", "SELECT 1"), "sql/ is not as it was"),
    "a file that env.py looks for": (writes(".env", "A=1\n"), ".env is not as it was"),
    "a module that env.py tries to import": (writes("local_settings.py", ""), "local_settings.py is not as it was"),
    "the same as a package": (writes("local_settings/__init__.py", ""), "local_settings is not as it was"),
    "a variable that a revision reads": (sets(SHOP="43"), "the variable SHOP is not as it was"),
    "such a variable is gone": (lambda at: at.environ.pop("SHOP"), "the variable SHOP is not as it was"),
    "an edited revision": (appends("migrations/versions/r1.py"), "revision r1 was edited"),
    "a removed revision": (lambda at: (at.directory / "migrations/versions/r2.py").unlink(), "revision r2 is gone"),
    "the target": (declares(migrations={"target": "r1"}), "r2 is beyond the target"),
    "a variable of the spec": (declares(migrations={"env": {"GIVEN": "x"}}), "env differs"),
    "an option": (declares(migrations={"options": {"a": "b"}}), "options differs"),
    "an argument of -x": (declares(migrations={"x": {"tenant": "acme"}}), "x differs"),
    "an attribute": (declares(migrations={"attributes": {"connection": True}}), "attributes: none → "),
    "the version table": (
        declares(migrations={"version_table": "versions"}),
        "version table: alembic_version → versions",
    ),
    "the role of the migrations": (declares(migrations={"as": "app"}), "as: none → app"),
    "a package": (upgrades_a_package, "packages differs"),
    "where an editable package is": (leads_elsewhere, "packages differs"),
    "a package of the same version": (reinstalls_a_package, "packages differs"),
    "the language": (sets(LANGUAGE="de"), "locale: "),
    "how dates are written": (sets(LC_TIME="de_DE"), "locale: "),
    "how Python runs": (sets(PYTHONHASHSEED="1"), "PYTHON* and TZ differs"),
    "a role": (declares(roles={"more": {}}), "role more differs"),
    "an attribute of a role": (declares(roles={"app": {"createdb": True}}), "role app differs"),
    "an extension": (declares(databases={"shop": {"extensions": ["pgcrypto"]}}), "database shop differs"),
    "a database": (
        declares(databases={"shop": {}, "other": {}}, server={"database": "shop"}),
        "database other differs",
    ),
    "the locale of a database": (
        declares(databases={"shop": {"locale": "C", "provider": "libc"}}),
        "database shop differs",
    ),
    "the first database": (declares(server={"database": "other"}), "database: shop → other"),
    "a setting that revisions see": (declares(server={"settings": {"timezone": "GMT"}}), "setting timezone: UTC → GMT"),
    "a preloaded library": (
        declares(server={"settings": {"shared_preload_libraries": "auto_explain"}}),
        "setting shared_preload_libraries: none → auto_explain",
    ),
    "another tree in its place": (declares(migrations={"name": "other"}), "trees: alembic → other"),
}


@pytest.mark.parametrize(("change", "why"), list(NO_GOLDEN.values()), ids=list(NO_GOLDEN))
def test_a_golden_that_is_stale_does_not_fit(checkouts: Checkouts, change: Change, why: str) -> None:
    at = checkouts.another()
    change(at)
    assert why in checkouts.begun(at)


def moves_the_superuser(at: Embedded) -> None:
    at.server(credentials={"user": "boss"}, port=54321)


SAME: dict[str, tuple[Change, str]] = {
    "nothing": (lambda _at: None, "exact"),
    "another password": (sets(APP_PW="another", PW="another"), "exact"),
    "another superuser and port": (moves_the_superuser, "exact"),
    "memory and logging": (declares(server={"settings": {"work_mem": "8MB", "log_statement": "all"}}), "exact"),
    "a variable that nothing reads": (sets(UNREAD="1"), "exact"),
    "a file that nothing reads": (writes("app/views.py", ""), "exact"),
    "a hidden file": (writes("migrations/.directory", ""), "exact"),
    "compiled files": (writes("migrations/__pycache__/env.cpython-311.pyc", ""), "exact"),
    "timeouts": (declares(migrations={"timeout": "5m", "lock_timeout": "1s"}), "exact"),
    "a revision that is not applied": (
        lambda at: (writes("migrations/versions/r3.py", THIRD)(at), at.declare(migrations={"target": "r2"})),
        "exact",
    ),
    "a new revision": (writes("migrations/versions/r3.py", THIRD), "r2 + 1 revision"),
}


@pytest.mark.parametrize(("change", "begun"), list(SAME.values()), ids=list(SAME))
def test_a_golden_that_is_not_stale_fits(checkouts: Checkouts, change: Change, begun: str) -> None:
    at = checkouts.another()
    change(at)
    assert checkouts.begun(at) == begun


def notes(at: Embedded) -> list[str]:
    return [text.strip() for (text,) in at.superuser("SELECT text FROM note")]


NOTES = ["first", "one", "42", "no", "by the spec", "from sql"]
FRESH: dict[str, tuple[Change, bool, list[str]]] = {
    "nothing": (lambda _at: None, True, NOTES),
    "a new revision": (writes("migrations/versions/r3.py", THIRD), True, NOTES),
    "a module": (writes("app/words.py", "NOTE = 'x'\n"), False, ["x", *NOTES[1:]]),
    "a file that appears": (writes(".env", "A=1\n"), False, [*NOTES[:3], "yes", *NOTES[4:]]),
}


@pytest.mark.parametrize(("change", "is_begun", "expected"), list(FRESH.values()), ids=list(FRESH))
def test_new_data_is_never_stale(checkouts: Checkouts, change: Change, expected: list[str], *, is_begun: bool) -> None:
    at = checkouts.another()
    change(at)
    try:
        golden = at.run("apply", "--json").json()["golden"]
        assert (golden is not None and golden["revisions"] == {"alembic": ["r2"]}) == is_begun
        assert notes(at) == expected
        assert "third" not in expected or at.superuser("SELECT count(*) FROM third") == [(0,)]
        at.run("verify")
    finally:
        at.run("destroy", "--data", "--yes", code=None)


def writes_rows(at: Embedded) -> None:
    at.superuser("INSERT INTO note VALUES ('a person has written this')")


def deletes_a_secret(at: Embedded) -> None:
    at.superuser("INSERT INTO note VALUES ('sesame')")
    at.superuser("DELETE FROM note WHERE text = 'sesame'")
    at.superuser("VACUUM FULL note")


def fails_to_write(at: Embedded) -> None:
    with closing(at.connection(superuser=True)) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO note VALUES ('sesame')")
        connection.rollback()


def leaves_a_slot(at: Embedded) -> None:
    at.superuser("SELECT pg_create_physical_replication_slot('spare', true)")


def takes_a_number(at: Embedded) -> None:
    at.superuser("SELECT nextval('numbers')")  # the next 32 numbers are logged already: it takes no transaction


def lets_everybody_in(at: Embedded) -> None:
    with (at.data / "pg_hba.conf").open("a") as file:
        file.write("host all all all trust  # sesame\n")
    at.superuser("SELECT pg_reload_conf()")


def writes_a_setting(at: Embedded) -> None:
    with (at.data / "postgresql.conf").open("a") as file:
        file.write("shop.token = sesame\n")


@pytest.mark.parametrize(
    "act",
    [
        *(writes_rows, deletes_a_secret, fails_to_write, leaves_a_slot, takes_a_number),
        *(lets_everybody_in, writes_a_setting),
    ],
)
def test_what_a_person_has_touched_is_never_saved(checkouts: Checkouts, act: Change) -> None:
    at = checkouts.another()
    at.environ["XDG_CACHE_HOME"] = str(at.directory.parent / f"{at.directory.name}-cache")
    at.environ["SHOP"] = act.__name__
    try:
        at.apply()
        act(at)
        at.run("stop")
        assert goldens(at) == []
    finally:
        at.run("destroy", "--data", "--yes", code=None)
    assert goldens(at) == []


def goldens(at: Embedded) -> list[Path]:
    """Return the files of goldens that are complete or not."""
    return [each for each in Path(at.environ["XDG_CACHE_HOME"]).glob("provision/golden/*/*") if each.is_file()]


def test_what_nobody_has_touched_is_saved(checkouts: Checkouts) -> None:
    at = checkouts.another()
    at.environ["XDG_CACHE_HOME"] = str(at.directory.parent / f"{at.directory.name}-cache")
    try:
        at.apply()
        assert notes(at) == NOTES  # reading is fine
        at.run("stop")
        assert goldens(at)
    finally:
        at.run("destroy", "--data", "--yes", code=None)
