"""Notes what the code of a tree reads: files, directories, variables of the caller, and programs that it runs.

Our side compares all of it before it begins new data with a copy of what this run makes. So what is noted may be too
much, which costs time, and never too little. Files are seen by an audit hook, and by what was imported in the end;
modules that are not there by a last finder; whether there is a file, and how large, by ``os.stat`` and its like;
variables by a class that ``os.environ`` gets, which is an ``os._Environ`` still.
Nothing of it ever raises into the code that is watched: what cannot be noted is reported as such.
https://docs.python.org/3/library/audit_events.html
"""

from __future__ import annotations

import os
import re
import stat
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .channel import Progress
    from .protocol import Read, Request

INSTALLED = ("site-packages", "dist-packages")
"""Directories whose packages are known by their versions."""
MOST = 5000
"""Paths that are noted. What reads more costs too much to compare."""
_NOT_OF_A_TREE = re.compile(r"/(?:\.|node_modules(?:/|$)|__pycache__/.)|(?:~|\.pyc)(?:/|$)")
"""Below the directories of a tree, this is none of its files."""
_SYSTEM = ("/proc/", "/sys/", "/dev/", "<")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_WORKERS = frozenset({"multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver"})
"""Modules that start another interpreter, of which no audit event tells."""
_HARMLESS = frozenset({"ldconfig", "ld", "gcc", "cc", "objdump", "uname"})
"""Programs that :mod:`ctypes.util` and :mod:`platform` run: they tell of the machine."""
_STARTS = frozenset({"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"})
_EVENTS = {"open", "os.listdir", "os.scandir", "os.rename", "sqlite3.connect", "subprocess.Popen", *_STARTS}
_READS_FOR_OTHERS = frozenset(
    {"os", "collections.abc", "posixpath", "genericpath", "pathlib", "glob", "fnmatch", "string", __name__}
)
_FINDS_CODE = frozenset(
    {"importlib", "_frozen_importlib_external", "importlib_metadata", "pkg_resources", "zipimport", "gettext"}
)
"""Modules that look for code, which is noted by its name where it is not found; and for translations."""
_ASK_WHETHER = frozenset(
    {"exists", "isdir", "isfile", "islink", "ismount", "lexists", "is_dir", "is_file", "is_mount", "is_symlink"}
)
"""Functions that ask ``os.stat`` whether there is a file, and for nothing else; what else asks may want its size."""
_DOTENV = "dotenv"
"""It takes a copy of all variables, and reads those of it that its file names: ``${NAME}`` or ``${NAME:-default}``."""
_NAMED = re.compile(r"\$\{([^}:]+)")
_ABOUT_THE_MACHINE = frozenset(
    {"urllib", "subprocess", "tempfile", "locale", "gettext", "ssl", "shutil", "sysconfig", "platform", "asyncio"}
)
"""Modules of the standard library that read variables which say how a machine or a terminal is."""


def is_installed(path: str) -> bool:
    """Tell whether a file belongs to an installed package, and not to a link to one that is elsewhere."""
    for each in INSTALLED:
        before, found, rest = path.partition(f"{os.sep}{each}{os.sep}")
        if found:
            return not _is_link(before + found + rest.partition(os.sep)[0])
    return False


@lru_cache(maxsize=MOST)
def _is_link(path: str) -> bool:
    try:
        return bool(os.readlink(path))  # noqa: PTH115  # which is not watched
    except OSError:
        return False


class Reading:
    """What the code of a tree has read so far. Nothing is noted before :meth:`begin`, or after :meth:`end`."""

    def __init__(self, request: Request, progress: Progress) -> None:
        self._progress = progress
        self._is_on = False
        self._lost = ""
        standard = (os.path.dirname(os.__file__), os.path.dirname(os.path.realpath(os.__file__)))  # noqa: PTH120
        here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
        self._not_counted = (*[each + os.sep for each in (*standard, here)], *_SYSTEM)
        self._package = __name__.partition(".")[0]
        self._missing: dict[str, list[str]] = {}
        self._files: set[str] = set()
        self._written: set[str] = set()
        self._changed: set[str] = set()
        self._listed: set[str] = set()
        self._looked: set[str] = set()
        self._variables: set[str] = set()
        self._given = frozenset({"PGAPPNAME", *request["tls"], *request["env"]})
        self._own = set(self._given)
        self._all_variables = False
        self._to_come: list[Any] = []
        self._passed: list[Any] = []
        self._programs: set[str] = set()
        self._dotenv: set[str] = set()

    def begin(self) -> None:
        """Begin to note."""
        try:
            sys.addaudithook(self._hook)
            sys.meta_path.append(_LastFinder(self))
            _watch_looks(self)
            _watch_variables(self)
        except Exception as error:  # noqa: BLE001  # an interpreter that is not as we know it
            self._lost = f"it cannot be watched: {error!r}"
        self._is_on = True

    def end(self) -> Read:
        """Return what was noted; from now on nothing is."""
        self._note_passed()
        self._is_on = False
        try:
            for module in list(sys.modules.values()):
                self._files.update(_files_of(module))
            for file in self._dotenv:
                self._variables.update(set(_named_in(file)) - self._given)
            looked = {*self._looked, *self._places_of_modules()}
        except Exception as error:  # noqa: BLE001  # a module can be any object
            self._lost = self._lost or f"what was imported is not known: {error!r}"
            looked = self._looked
        files = {each for each in self._files - self._written if self._counts(each)}
        looked = {each for each in looked - self._written - files if self._counts(each)}
        listed = {each for each in self._listed if self._counts(each + os.sep)}
        if len(files) + len(looked) + len(listed) > MOST:
            self._lost = self._lost or f"it reads more than {MOST} files"
            files, looked, listed = set(), set(), set()
        return {
            "event": "read",
            "files": sorted(files),
            "changed": sorted([each for each in self._changed if self._counts(each)]),
            "looked": sorted(looked),
            "listed": sorted(listed),
            "variables": sorted(self._variables),
            "all_variables": self._all_variables,
            "own_variables": sorted(self._own),
            "programs": sorted(self._programs - _HARMLESS | self._progress.on_server | (_WORKERS & {*sys.modules})),
            "lost": self._lost,
        }

    def _counts(self, path: str) -> bool:
        """Tell whether a file can change unnoticed; most are of the tree, whose files are compared anyway."""
        for each in self._progress.own:
            if path.startswith(each):
                return _NOT_OF_A_TREE.search(path, len(each) - 1) is not None
        return not (path.startswith(self._not_counted) or is_installed(path))

    # --- files

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in _EVENTS or not self._is_on:
            return
        try:
            if event == "open":
                self._opened(args[0], args[2])
            elif event in ("os.listdir", "os.scandir"):
                self._list(args[0])
            elif event == "os.rename":
                self._write(_absolute(args[1]))
            elif event == "sqlite3.connect":
                self._opened(args[0], 0)
            else:
                self._run(event, args)
        except Exception as error:  # noqa: BLE001  # whatever the user's code hands over, it is not ours to raise
            self._lost = self._lost or f"{event}: {error!r}"

    def _opened(self, path: Any, flags: Any) -> None:
        if isinstance(path, int):
            return
        name = _source(_absolute(path))
        if isinstance(flags, int) and flags & _WRITES:
            if not flags & (os.O_WRONLY | os.O_TRUNC | os.O_EXCL):
                self._files.add(name)
            self._write(name)
        elif name not in self._files and self._counts(name) and not self._is_called_by(self._package):
            self._files.add(name)
            if self._is_called_by(_DOTENV):
                self._dotenv.add(name)

    def _write(self, name: str) -> None:
        if name in self._files and name not in self._written:
            self._changed.add(name)
        self._written.add(name)

    def _list(self, path: Any) -> None:
        if isinstance(path, int):
            return
        name = _absolute("." if path is None else path)
        if name not in self._listed and not self._is_called_by(self._package, *_FINDS_CODE):
            self._listed.add(name)

    def look(self, path: Any, found: Any = None) -> None:
        """Note that it was asked whether there is a file; where more of it was ``found``, that counts as reading it."""
        if not self._is_on or not isinstance(path, (str, bytes, os.PathLike)):
            return
        try:
            if isinstance(found, os.stat_result) and stat.S_ISREG(found.st_mode):
                self._opened(path, os.O_RDONLY)
                return
            name = _absolute(path)
            if name not in self._looked and self._counts(name) and not self._is_called_by(self._package, *_FINDS_CODE):
                self._looked.add(name)
        except Exception as error:  # noqa: BLE001
            self._lost = self._lost or f"os.stat: {error!r}"

    def _run(self, event: str, args: tuple[Any, ...]) -> None:
        named: Any = args[0] if args else None
        if named is None and event == "subprocess.Popen":
            named = args[1] if isinstance(args[1], (str, bytes)) else args[1][0]
        is_named = isinstance(named, (str, bytes, os.PathLike)) and event != "os.system"
        self._programs.add(os.path.basename(os.fsdecode(named)) if is_named else event)  # noqa: PTH119

    def miss(self, name: str, places: Any) -> None:
        """Note that no module was found by a name; ``places`` are those of its package, or None."""
        if self._is_on:
            try:
                self._missing[name] = [_absolute(each or ".") for each in (sys.path if places is None else places)]
            except Exception as error:  # noqa: BLE001
                self._lost = self._lost or f"import of {name}: {error!r}"

    def _places_of_modules(self) -> Iterator[str]:
        """Yield the files and directories that would have been imported if they had been there."""
        standard = getattr(sys, "stdlib_module_names", ())
        for name, places in self._missing.items():
            if sys.modules.get(name) is None and name.partition(".")[0] not in standard:
                for place in places:
                    base = os.path.join(place, name.rpartition(".")[2])  # noqa: PTH118
                    yield from (base, f"{base}.py", os.path.join(base, "__init__.py"))  # noqa: PTH118

    # --- variables

    def variable(self, key: Any) -> None:
        """Note that a variable is read, unless it is because all of them are, in their order."""
        if self._to_come and self._to_come[-1] == key:
            self._passed.append(self._to_come.pop())
            if not self._to_come:
                self._passed.clear()
            return
        self._note(key)

    def _note(self, key: Any) -> None:
        if not self._is_on:
            return
        try:
            name = os.fsdecode(key)
            if name not in self._variables and name not in self._own and not self._is_called_by(*_ABOUT_THE_MACHINE):
                self._variables.add(name)
        except Exception as error:  # noqa: BLE001
            self._lost = self._lost or f"os.environ: {error!r}"

    def own_variable(self, key: Any) -> None:
        """Note that a variable is not the caller's any more."""
        if self._is_on:
            try:
                self._own.add(os.fsdecode(key))
            except Exception as error:  # noqa: BLE001
                self._lost = self._lost or f"os.environ: {error!r}"

    def every_variable(self, keys: list[Any]) -> None:
        """Note that the code goes through all variables; their values may be read next."""
        if not self._is_on or self._is_called_by(*_ABOUT_THE_MACHINE):
            return
        self._all_variables = self._all_variables or not self._is_called_by(_DOTENV)
        self._note_passed()
        self._to_come = keys[::-1]

    def _note_passed(self) -> None:
        """Note what was read of all variables where the rest was not: it may have been asked for by its name."""
        passed, self._passed, self._to_come = self._passed, [], []
        for each in passed:
            self._note(each)

    def _is_called_by(self, *modules: str) -> bool:
        """Tell whether the code that reads is of one of these modules or packages."""
        frame: Any = sys._getframe(2)  # noqa: SLF001
        while frame is not None:
            name = str(frame.f_globals.get("__name__"))
            if name not in _READS_FOR_OTHERS:
                return name.partition(".")[0] in modules
            frame = frame.f_back
        return False


def _absolute(path: Any) -> str:
    name = os.fsdecode(path)
    # What is absolute and has no dots in its directories is the usual case, and abspath() takes as long as all else.
    return name if name.startswith("/") and "/." not in name and "//" not in name else os.path.abspath(name)  # noqa: PTH100


def _source(name: str) -> str:
    """Return the source of a compiled file, as ``importlib.util.source_from_cache`` does in more time."""
    directory, found, file = name.rpartition("/__pycache__/")
    return f"{directory}/{file.partition('.')[0]}.py" if found and file.endswith(".pyc") else name


def _files_of(module: Any) -> Iterator[str]:
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        yield _source(_absolute(file))


def _named_in(file: str) -> list[str]:
    try:
        with open(file, encoding="utf-8", errors="replace") as text:  # noqa: PTH123
            return _NAMED.findall(text.read())
    except OSError:
        return []


class _Look:
    """``os.stat`` or its like, which tells what is looked for: ``exists`` asks it, and no audit event says so.

    Like the original, and unlike a function, it is no method where it is an attribute of a class.
    """

    def __init__(self, real: Any, reading: Reading) -> None:
        self.__name__, self.__doc__, self.__wrapped__ = real.__name__, real.__doc__, real
        self._look = reading.look

    def __call__(self, *args: Any, **named: Any) -> Any:
        asks: Any = sys._getframe(1)  # noqa: SLF001
        if asks.f_code.co_name in ("stat", "lstat") and asks.f_back is not None:
            asks = asks.f_back  # pathlib has a method of the same name between
        by, path, found = asks.f_code.co_name, args[0] if args else named.get("path"), None
        try:
            found = self.__wrapped__(*args, **named)
            return found
        finally:
            # realpath() asks about each directory above, and it is not about whether these are there.
            if not by.endswith("realpath"):
                self._look(path, None if by in _ASK_WHETHER else found)


class _LastFinder:
    """The last finder of modules: it finds none, and so tells what the others have not found.

    No audit event says what ``importlib.import_module`` looks for.
    """

    def __init__(self, reading: Reading) -> None:
        self._miss = reading.miss

    def find_spec(self, name: str, path: Any = None, _target: Any = None) -> None:
        """Note a name that no other finder knows."""
        self._miss(name, path)


def _watch_looks(reading: Reading) -> None:
    for name in ("stat", "lstat", "access"):
        real = getattr(os, name)
        watched = _Look(real, reading)
        for each in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks, os.supports_effective_ids):
            if real in each:
                each.add(watched)
        setattr(os, name, watched)


def _watch_variables(reading: Reading) -> None:
    """Let ``os.environ`` tell which variables are read; it stays the object that it is."""
    base: Any = os._Environ  # noqa: SLF001

    class _Environ(base):  # type: ignore[misc]
        """The variables of this process, each of which is noted when it is read."""

        def __getitem__(self, key: Any) -> Any:
            reading.variable(key)
            return base.__getitem__(self, key)

        def __setitem__(self, key: Any, value: Any) -> None:
            base.__setitem__(self, key, value)
            reading.own_variable(key)

        def __delitem__(self, key: Any) -> None:
            base.__delitem__(self, key)
            reading.own_variable(key)

        def __iter__(self) -> Iterator[Any]:
            names = list(base.__iter__(self))
            reading.every_variable(names)
            return iter(names)

    os.environ.__class__ = _Environ
    if hasattr(os, "environb"):
        os.environb.__class__ = _Environ
