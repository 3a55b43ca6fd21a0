"""Value classes are those of the library: each law holds of both."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any, ClassVar

import pytest

from provision.model import value


def classes(library: Any) -> tuple[Any, Any]:
    @library.dataclass(frozen=True)
    class Base:
        name: str
        size: int = 1
        kind: ClassVar[str] = "base"

    @library.dataclass(frozen=True)
    class Pair(Base):
        size: int = 2
        notes: dict[str, str] = library.field(default_factory=dict, compare=False)
        hidden: str = library.field(default="h", repr=False)
        seen: list[str] = library.field(default_factory=list, init=False, repr=False, compare=False)

    @library.dataclass
    class Open:
        inner: Any
        parts: list[Any] = library.field(default_factory=list)

        def __post_init__(self) -> None:
            self.parts.append(self.inner)

    return Pair, Open


@pytest.mark.parametrize("library", [dataclasses, value])
def test_a_value_is_what_the_library_makes(library: Any) -> None:
    pair, mutable = classes(library)
    one = pair("a", notes={"x": "y"})
    assert one == pair(name="a") != pair("a", 3)
    assert hash(one) == hash(pair("a"))
    assert repr(one).endswith("Pair(name='a', size=2, notes={'x': 'y'})")
    assert (one.hidden, one.seen, one.kind) == ("h", [], "base")
    assert one != classes(library)[0]("a"), "of another class"
    assert pair("a").notes is not pair("a").notes
    assert library.replace(one, size=5) == pair("a", 5)
    assert [each.name for each in library.fields(one)] == ["name", "size", "notes", "hidden", "seen"]
    assert library.asdict(mutable((one, [one]))) == {
        "inner": (library.asdict(one), [library.asdict(one)]),
        "parts": [(library.asdict(one), [library.asdict(one)])],
    }
    assert copy.copy(one) == copy.deepcopy(one) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.size = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.size
    changing = mutable(1)
    changing.inner = 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(changing)


@pytest.mark.parametrize("library", [dataclasses, value])
@pytest.mark.parametrize(
    ("args", "given"),
    [((), {}), (("a", 1, {}, "h", "more"), {}), (("a",), {"name": "b"}), (("a",), {"other": 1}), ((), {"other": 1})],
)
def test_wrong_arguments_are_refused(library: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        classes(library)[0](*args, **given)


def test_the_functions_of_the_library_work() -> None:
    pair, _ = classes(value)
    one = pair("a")
    assert dataclasses.is_dataclass(one)
    assert dataclasses.replace(one, size=5).size == 5
    assert dataclasses.asdict(one) == value.asdict(one)
    assert [each.name for each in dataclasses.fields(pair) if each.repr] == ["name", "size", "notes"]


@value.dataclass(frozen=True)
class Plain:
    text: str


def test_a_value_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Plain("a"))) == Plain("a")  # noqa: S301  # our own
