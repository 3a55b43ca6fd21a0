"""Which spec file is meant: the one that was named, the usual one, or what a mistyped path may stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

DEFAULT_NAMES = ("provision.yml", "provision.yaml")
_SUFFIXES = {".yml", ".yaml"}
_MOST_SHOWN = 8
_ALIKE = 0.6
_ADDRESS = r"postgres(?:ql)?(?:\+\w+)?:/"
_CONNECTION = r"(?:^|\s)(?:host|hostaddr|dbname|service|user)\s*="
_CREDENTIAL = r"://[^/@\s:]*:[^@\s]+@|[?&\s]password\s*=|^password\s*="


def find_spec(given: Path | None, directory: Path) -> Path:
    """Return the spec file that is meant: the given one, else ``provision.yml`` in this directory.

    Raises:
        provision.errors.UsageError: there is no such file; the error lists the files that could be meant.
    """
    if given is not None:
        if not given.is_file():
            _refuse_address(str(given))
            _refuse(given)
        return given
    found = [Path(name) for name in DEFAULT_NAMES if (directory / name).is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        _fail(f"which spec? Both {' and '.join(DEFAULT_NAMES)} are here", [str(path) for path in found])
    candidates = _specs_near(directory) or _specs_above(directory)
    sentence = f"which spec? No file was named, and there is no {DEFAULT_NAMES[0]} here"
    _fail(sentence, candidates, next_step=None if candidates else "provision init")
    return Path()


def split(words: Sequence[str], *, with_paths: bool = True) -> tuple[Path | None, tuple[str, ...]]:
    """Tell the spec from other words: it ends in ``.yml`` or ``.yaml``, or has a slash in it (``with_paths``).

    Raises:
        click.UsageError: there are two specs.
    """
    specs = [word for word in words if word.endswith((".yml", ".yaml")) or (with_paths and "/" in word)]
    if len(specs) > 1:
        raise click.UsageError(f"one spec at a time: {specs[0]} and {specs[1]} were named")
    return (Path(specs[0]) if specs else None), tuple([word for word in words if word not in specs])


def refuse_passwords(words: Sequence[str]) -> None:
    """Refuse a command line that has the address of a server with a password in it; it is not repeated.

    Raises:
        provision.errors.UsageError: it has one; the error says how to give it.
    """
    for before, word in zip(("", *words), words, strict=False):
        if re.search(_CREDENTIAL, word):
            if "--drop" in (before, word.partition("=")[0]):
                refuse_url(word, [each for each in words if each.endswith((".yml", ".yaml"))])
            _refuse_address(word, next((each for each in words if not each.startswith("-") and each != word), "plan"))


def refuse_url(word: str, specs: Sequence[str]) -> None:
    """Refuse a URL in the place of a clone's name; of the URL, only that name is repeated.

    Raises:
        provision.errors.UsageError: it is a URL.
    """
    from provision.errors import UsageError
    from provision.model import CLONE

    if "://" in word:
        found = re.search(rf"://[^?#]*/{CLONE}([a-z0-9_]+)(?:[?#]|$)", word)
        again = ("provision clone", f"--drop {found[1]}" if found else "--list", *map(shell_word, map(Path, specs)))
        raise UsageError("`--drop` takes the NAME of a clone, or `--all`, and no URL", next_step=" ".join(again))


def _refuse_address(word: str, verb: str = "plan") -> None:
    """Raise the error for the address of a server in the place of a spec, with the spec to write."""
    if not (re.match(_ADDRESS, word) or re.search(_CONNECTION, word)):
        return
    from provision.errors import UsageError

    sentence = "a command takes a spec file, and not the address of a server"
    if re.search(_CREDENTIAL, word):
        sentence = "a password in a command line can be seen by every user, and stays in the history of the shell"
    ctx = click.get_current_context(silent=True)
    again = f"{ctx.command_path if ctx else f'provision {verb}'} {DEFAULT_NAMES[0]}"
    raise UsageError(
        sentence,
        evidence=[f"write the address into {DEFAULT_NAMES[0]}, and let the password come from elsewhere:", *_EXTERNAL],
        next_step=f"read -rs PGPASSWORD && export PGPASSWORD && {again}",
    )


_EXTERNAL = """name: shop
server:
  runtime: external
  image: postgres:17   # its major version
  host: db.example.com
  database: shop
  credentials: {user: shop, password: "${PGPASSWORD}"}   # or {file: ./password}, or {command: [pass, show, shop]}
""".splitlines()


def shell_word(path: Path) -> str:
    """Return a path as one would type it into a shell."""
    text = str(path)
    if text.replace("/", "").replace(".", "").replace("-", "").replace("_", "").isalnum():
        return text
    from shlex import quote

    return quote(text)


def _refuse(given: Path) -> None:
    """Raise the error for a path that is no file, with the file that may be meant."""
    parent = given.parent
    if given.is_dir():
        inside = [*_usual_in(given), *[str(given / name) for name in _specs_near(given)]]
        _fail(f"{given} is a directory; name the spec file in it", list(dict.fromkeys(inside)))
    if given.exists():
        what = "a named pipe" if given.is_fifo() else "a socket" if given.is_socket() else "a device"
        near = _usual_in(parent) or _specs_near(parent)
        _fail(f"{given} is {what}, and a spec is a regular file", near, shown=[])
    if parent.is_dir():
        what = f"{given} does not exist"
        near = _alike(given.stem, {path.stem: str(path) for path in parent.iterdir() if path.suffix in _SUFFIXES})
    else:
        what = f"{given} does not exist: there is no directory {parent}"
        near = _alike(str(given.with_suffix("")), {each.rpartition(".")[0]: each for each in _specs_near(Path())})
    if near:
        _fail(f"{what}; did you mean {near[0]}?", near, shown=[])
    ctx = click.get_current_context(silent=True)
    destroys = ctx is not None and ctx.info_name == "destroy"  # another environment is not what was meant
    _fail(what, _usual_in(Path()), shown=_specs_near(Path()), next_step="provision list" if destroys else None)


def _others(ctx: click.Context | None) -> list[str]:
    """Return the words of a command line beside the spec, such as the name of a snapshot."""
    words = (ctx.params.get("words") if ctx else None) or ()
    return [shell_word(Path(word)) for word in words if Path(word).suffix not in _SUFFIXES and "/" not in word]


def _fail(sentence: str, meant: list[str], *, shown: list[str] | None = None, next_step: str | None = None) -> None:
    """Raise the error; the next step is the same command with the first of the specs that may be ``meant``."""
    from provision.errors import UsageError

    ctx = click.get_current_context(silent=True)
    spec = shell_word(Path(meant[0])) if meant else "path/to/spec.yml"
    again = " ".join([ctx.command_path if ctx else "provision apply", spec, *_others(ctx)])
    evidence = (meant if shown is None else shown)[:_MOST_SHOWN]
    raise UsageError(sentence, evidence=evidence, next_step=next_step or again)


def _specs_near(directory: Path) -> list[str]:
    found = [
        path.relative_to(directory)
        for place in (directory, directory / "specs")
        if place.is_dir()
        for path in sorted(place.iterdir())
        if path.suffix in _SUFFIXES and not path.name.startswith((".", "docker-compose", "compose"))
    ]
    return [str(path) for path in found]


def _specs_above(directory: Path) -> list[str]:
    """Return the spec of the project that a directory is in, looking no further up than its repository."""
    up, place = directory, directory.absolute()
    while not (place / ".git").exists() and place != place.parent:
        up, place = up / "..", place.parent
        if found := _usual_in(up):
            return found
    return []


def _usual_in(directory: Path) -> list[str]:
    return [str(directory / name) for name in DEFAULT_NAMES if (directory / name).is_file()]


def _alike(name: str, paths: dict[str, str]) -> list[str]:
    """Return the path that was mistyped, if one is that close; that all end in .yml makes none of them alike."""
    from difflib import get_close_matches

    return [paths[each] for each in get_close_matches(name, paths, n=1, cutoff=_ALIKE)]
