"""What the code of trees has read: made out after an apply from nothing, and compared before a golden is used."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from provision.golden import keyed
from provision.golden.inputs import gather
from provision.golden.key import ABSENT, NOTHING, Golden, Inputs, Recorded, UnknownError
from provision.golden.trees import covers, is_hidden, shown
from provision.system.libpq import VARIABLES
from provision.system.variables import without

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from provision.alembic import Read
    from provision.observe.outside import World
    from provision.spec.model import Spec

PRESENT = "+"
"""In place of a digest: there was one, and what was in it was not read."""
_OF_A_SHELL = (
    r"_\w*|PWD|OLDPWD|SHLVL|PATH|SHELL|PS\d|HIST\w*|COLUMNS|LINES|TERM\w*|COLORTERM|LS_COLORS|LESS\w*|PAGER|EDITOR"
    r"|MAIL|MOTD_SHOWN|ZDOTDIR|DISPLAY|DESKTOP_SESSION|SESSION_MANAGER|XAUTHORITY|INVOCATION_ID|JOURNAL_STREAM"
    r"|(XDG|WAYLAND|DBUS|SSH|GPG|GNOME|KDE|QT|GTK|TMUX|VTE|VSCODE|PYCHARM|ITERM|DIRENV|PYENV|CONDA|NVM|PIP|UV)_\w+"
    r"|TMUX|STY|WINDOW\w*|VIRTUAL_ENV\w*|INSIDE_EMACS|PYTEST\w*|PROVISION_\w+|MAKE\w*|MFLAGS|HOSTNAME"
    r"|(CI|GITHUB|GITLAB|ACTIONS|RUNNER|CIRCLE|BUILDKITE|TRAVIS)_\w+|BUILD_(ID|NUMBER|TAG|URL)"
)
"""Variables that differ from one terminal, or job, to the next. They count where code asks for one by its name."""


def made(
    world: World, before: Inputs | str, reads: Mapping[str, Read | None], begun: Golden | None, since: float
) -> Golden | str:
    """Return the golden that the data of an environment can be kept as; or why it cannot, in words.

    ``before`` are the inputs as they were when this run first looked, ``since`` seconds after 1970; ``reads`` is what
    the child has reported of each tree that ran, and ``begun`` the golden that the data began with. ``world`` was seen
    after all of it.
    """
    after = gather(world)
    if isinstance(before, str) or isinstance(after, str):
        return before if isinstance(before, str) else str(after)
    if before != after:
        return "what it is made from was changed meanwhile"
    there = {tree.name for tree in begun.inputs.trees} if begun else set()
    unread = {tree.name: None for tree in after.trees if tree.applied and tree.name not in there}
    try:
        found = of(world, {**unread, **reads}, since)
    except UnknownError as error:
        return str(error)
    golden = Golden.of(after, _joined([begun.recorded, found]) if begun else found)
    keyed.keep_key()
    return golden


def of(world: World, reads: Mapping[str, Read | None], since: float) -> Recorded:
    """Return what trees have read, by their names, of which no file was changed ``since``.

    Raises:
        UnknownError: that is not known.
    """
    return _joined([_recorded(world, name, read, since) for name, read in reads.items()])


def changed(spec: Spec, before: Recorded) -> str:
    """Return what is not as it was when it was read, in words; empty: everything is."""
    for path, state in before.files.items():
        if _state(os.path.join(spec.directory, path), is_read=state not in (PRESENT, ABSENT)) != state:  # noqa: PTH118
            return f"{path} is not as it was when code read it"
    variables = without(VARIABLES)
    for name, value in before.variables.items():
        if _value(variables, name) != value:
            return f"the variable {name} is not as it was when code read it"
    if before.everything and _everything(variables, before.own) != before.everything:
        return "the variables are not as they were when code went through all of them"
    return ""


def _recorded(world: World, tree: str, read: Read | None, since: float) -> Recorded:
    """Return what one tree has read.

    Raises:
        UnknownError: that is not known.
    """
    spec, where = world.spec, f"migrations/{tree}"
    if next(each for each in spec.migrations if each.name == tree).command:
        return NOTHING
    if read is None or read["lost"]:
        raise UnknownError(f"what the code of {where} has read is not known" + (f": {read['lost']}" if read else ""))
    if read["programs"] and spec.server.golden != "true":
        name = read["programs"][0]
        raise UnknownError(f"nothing tells what {name} does, which {where} runs; `server.golden: true` trusts it")
    if read["changed"]:
        raise UnknownError(f"{where} has changed {shown(spec, read['changed'][0])}, which it had read")
    read_, looked, listed = [
        [each for each in paths if not covers(world.trees, tree, each)]
        for paths in (read["files"], read["looked"], read["listed"])
    ]
    if new := next((each for each in read_ if _is_newer(each, since)), None):
        raise UnknownError(f"{shown(spec, new)} was changed while {where} ran")
    files = {shown(spec, each): _state(each, is_read=False) for each in looked}
    files |= {shown(spec, each): _state(each) for each in read_}
    files |= {shown(spec, each) + os.sep: _state(each + os.sep) for each in listed}
    variables, own = without(VARIABLES), tuple(read["own_variables"])
    everything = _everything(variables, own) if read["all_variables"] else ""
    by_name = {name: _value(variables, name) for name in read["variables"]}
    return Recorded(files, by_name, everything, own if everything else ())


def _joined(parts: Sequence[Recorded]) -> Recorded:
    """Return what several trees, or several runs, have read in all."""
    files = {name: state for each in parts for name, state in each.files.items()}
    by_name = {name: value for each in parts for name, value in each.variables.items()}
    going = [set(each.own) for each in parts if each.everything]
    if not going:
        return Recorded(files, by_name)
    own = tuple(sorted(set.intersection(*going)))
    return Recorded(files, by_name, _everything(without(VARIABLES), own), own)


def _state(path: str, *, is_read: bool = True) -> str:
    """Return the digest of a file, or of the names in a directory (where the path ends so), or whether it is there."""
    if path.endswith(os.sep):
        try:
            return keyed.text(sorted([each for each in os.listdir(path) if not is_hidden(each)]))  # noqa: PTH208
        except OSError:
            return ABSENT
    found = keyed.of_file(Path(path)) if is_read else None
    return found or (PRESENT if os.path.exists(path) else ABSENT)  # noqa: PTH110


def _is_newer(path: str, since: float) -> bool:
    try:
        return Path(path).stat().st_ctime > since  # one that is moved there keeps the time of its content
    except OSError:
        return False


def _value(variables: Mapping[str, str], name: str) -> str:
    return keyed.secret([name, variables[name]]) if name in variables else ABSENT


def _everything(variables: Mapping[str, str], own: Collection[str]) -> str:
    of_code = [name for name in sorted(variables) if name not in own and not re.fullmatch(_OF_A_SHELL, name)]
    return keyed.secret([(name, variables[name]) for name in of_code])
