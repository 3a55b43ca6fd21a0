"""Writes the script that completes words to where a shell of this user looks for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from provision.system import files

_ZSH: Final = ".zfunc"


class Installed(NamedTuple):
    """Where the script is, whether it was written just now, and what else the shell needs once, as lines to type."""

    path: Path
    is_new: bool
    lines: tuple[str, ...] = ()


def install(shell: str, script: str, environ: Mapping[str, str]) -> Installed:
    """Write the script of a shell into this user's directory for them; a second time there is nothing to do.

    bash: the directory of the package bash-completion. zsh: ``.zfunc``, which has to be in ``fpath``. fish: its own.

    Raises:
        ProvisionError: it cannot be written.
    """
    path, lines = place(shell, environ)
    is_new = files.read_text(path) != script
    if is_new:
        files.make_directory(path.parent, 0o755)
        files.write_atomically(path, script, 0o644)
    return Installed(path, is_new, lines)


def place(shell: str, environ: Mapping[str, str]) -> tuple[Path, tuple[str, ...]]:
    """Return the file of a shell, and the lines that its start file lacks."""
    home = Path(environ.get("HOME") or "~").expanduser()
    if shell == "fish":
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        return config / "fish" / "completions" / "provision.fish", ()
    if shell == "zsh":
        start = Path(environ.get("ZDOTDIR") or home) / ".zshrc"
        directory = start.parent / _ZSH
        has_it = _ZSH in (files.read_text(start) or "")
        line = f"echo 'fpath+=({directory}); autoload -Uz compinit && compinit' >> {start}"
        return directory / "_provision", () if has_it else (line,)
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    given = environ.get("BASH_COMPLETION_USER_DIR")
    path = (Path(given) if given else data / "bash-completion") / "completions" / "provision"
    start = home / ".bashrc"
    loads = any(os.path.exists(each) for each in _LOADERS) or str(path) in (files.read_text(start) or "")  # noqa: PTH110
    return path, () if loads else (f"echo 'source {path}' >> {start}",)


_LOADERS: Final = (
    "/usr/share/bash-completion/bash_completion",
    "/usr/local/etc/profile.d/bash_completion.sh",
    "/opt/homebrew/etc/profile.d/bash_completion.sh",
)
"""What loads a script from the directory by itself, where it is installed: https://github.com/scop/bash-completion"""
