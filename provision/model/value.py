"""Value classes: what ``dataclasses`` offers and this program uses, at a tenth of its price at import.

The library writes six functions a class as text and compiles them: 0.5 ms for each of the 114 classes that a run with
nothing to do imports. Here all classes have the same functions, which read the shape of theirs. (msgspec takes 15 ms to
import, and cannot leave a field out of a comparison.) Type checkers see the library itself, so its rules hold, and its
functions work on these classes too. ``slots`` and ``kw_only`` do not exist; what is made in thousands is a NamedTuple.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace

__all__ = ["asdict", "dataclass", "field", "fields", "is_dataclass", "replace"]


class _Field:
    """A field, and the options of its ``field(…)``."""

    __slots__ = ("name", "options")

    def __init__(self, **options: Any) -> None:
        self.name = ""
        self.options = options

    @property
    def compare(self) -> bool:
        """Whether a comparison looks at it."""
        return self.options.get("compare", True) is True


class _Shape:
    """The fields of a class, arranged for the functions below."""

    __slots__ = ("compared", "defaults", "factories", "fields", "filled", "hashed", "is_finished", "names", "shown")

    def __init__(self, found: dict[str, _Field], *, is_finished: bool) -> None:
        self.fields, self.is_finished = found, is_finished

    def __getattr__(self, name: str) -> Any:
        """Arrange them for the first one who asks: a run makes values of few classes."""
        options = {name: each.options for name, each in self.fields.items()}
        self.names = tuple([name for name, each in options.items() if each.get("init", True)])
        self.defaults = {name: each["default"] for name, each in options.items() if "default" in each}
        self.factories = [(n, each["default_factory"]) for n, each in options.items() if "default_factory" in each]
        self.filled = {*self.names, *self.defaults, *[name for name, _ in self.factories]}
        compared = [name for name, each in options.items() if each.get("compare", True)]
        self.compared = _getter(compared)
        self.hashed = _getter([name for name in compared if options[name].get("hash", True)])
        self.shown = [name for name, each in options.items() if each.get("repr", True)]
        return object.__getattribute__(self, name)


def _getter(names: list[str]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda _: ()


class _LibraryFields:
    """By what the library's own functions know a dataclass: made when one of them looks."""

    def __get__(self, _: Any, owner: Any) -> Any:
        from dataclasses import field, make_dataclass

        found = [(name, Any, field(**each.options)) for name, each in owner.__shape__.fields.items()]
        made: Any = make_dataclass(owner.__name__, found, init=False, repr=False, eq=False)
        return made.__dataclass_fields__


def _dataclass(cls: Any = None, /, *, frozen: bool = False, eq: bool = True) -> Any:
    if cls is None:
        return lambda cls: _dataclass(cls, frozen=frozen, eq=eq)
    found: dict[str, _Field] = {}
    for base in reversed(cls.__mro__[1:]):
        found |= base.__dict__["__shape__"].fields if "__shape__" in base.__dict__ else {}
    found |= {name: _declared(cls, name) for name, kind in cls.__annotations__.items() if "ClassVar" not in str(kind)}
    cls.__shape__ = _Shape(found, is_finished=hasattr(cls, "__post_init__"))
    cls.__dataclass_fields__ = _LIBRARY_FIELDS
    cls.__init__, cls.__repr__ = _init, _repr
    if eq:
        cls.__eq__, cls.__hash__ = _eq, _hash if frozen else None
    if frozen:
        cls.__setattr__, cls.__delattr__ = _refuse, _refuse
    return cls


_LIBRARY_FIELDS = _LibraryFields()


def _declared(cls: Any, name: str) -> _Field:
    """Return the field of a name, and leave its default at the class, as the library does."""
    value = cls.__dict__.get(name, _LIBRARY_FIELDS)
    if not isinstance(value, _Field):
        value = _Field() if value is _LIBRARY_FIELDS else _Field(default=value)
    elif "default" in value.options:
        setattr(cls, name, value.options["default"])
    else:
        delattr(cls, name)
    value.name = name
    return value


def _init(self: Any, /, *args: Any, **given: Any) -> None:
    shape = self.__shape__
    count = len(args) + len(given)
    given.update(zip(shape.names, args, strict=False))
    held = {**shape.defaults, **given}
    for name, make in shape.factories:
        if name not in held:
            held[name] = make()
    if len(given) != count or held.keys() != shape.filled:
        wrong = ", ".join(sorted(held.keys() ^ shape.filled))
        message = f"{type(self).__qualname__} takes {', '.join(shape.names)}; missing, unknown or twice: {wrong}"
        raise TypeError(message)
    self.__dict__.update(held)
    if shape.is_finished:
        self.__post_init__()


def _repr(self: Any) -> str:
    return (
        f"{type(self).__qualname__}({', '.join([f'{each}={getattr(self, each)!r}' for each in self.__shape__.shown])})"
    )


def _eq(self: Any, other: Any) -> Any:
    if self is other:
        return True
    if self.__class__ is not other.__class__:
        return NotImplemented
    compared = self.__shape__.compared
    return compared(self) == compared(other)


def _hash(self: Any) -> int:
    return hash(self.__shape__.hashed(self))


def _refuse(self: Any, name: str, *_: Any) -> NoReturn:
    from dataclasses import FrozenInstanceError

    message = f"cannot change {name!r} of a frozen {type(self).__qualname__}"
    raise FrozenInstanceError(message)


def _is_dataclass(value: Any) -> bool:
    return hasattr(value, "__shape__")


def _fields(value: Any) -> tuple[_Field, ...]:
    return tuple(value.__shape__.fields.values())


def _replace(value: Any, /, **changes: Any) -> Any:
    held = value.__dict__
    return value.__class__(**{name: held[name] for name in value.__shape__.names} | changes)


def _asdict(value: Any) -> dict[str, Any]:
    return {name: _plain(getattr(value, name)) for name in value.__shape__.fields}


def _plain(value: Any) -> Any:
    if _is_dataclass(value):
        return _asdict(value)
    if isinstance(value, list | tuple):
        found = map(_plain, value)
        return type(value)(*found) if hasattr(value, "_fields") else type(value)(found)
    return {_plain(key): _plain(each) for key, each in value.items()} if isinstance(value, dict) else value


if not TYPE_CHECKING:
    dataclass, field, fields, is_dataclass, replace, asdict = (
        _dataclass,
        _Field,
        _fields,
        _is_dataclass,
        _replace,
        _asdict,
    )
