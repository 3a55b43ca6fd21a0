"""A slip on the command line, which click has noticed, in our words: with the option that may have been meant."""

from __future__ import annotations

from typing import Final

import click

from provision.errors import UsageError, command

_ALIKE: Final = 0.7
"""So alike is an option that was mistyped, by difflib's measure; what is further off was not meant."""
_ELSEWHERE: Final = {
    "--dry-run": ("--check", "sql"),
    "--force": ("--yes",),
    "-f": ("--yes",),
    "-y": ("--yes",),
}
"""What other programs call it, and ours: an option, or else a verb beside this one."""


def told(error: click.ClickException) -> UsageError:
    """Return what click has noticed as an error of ours."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    path = ctx.command_path if ctx else "provision"
    if isinstance(error, click.NoSuchOption):
        return _no_such_option(error.option_name, path, _options(ctx))
    message = error.format_message()
    sentence = message[:1].lower() + message[1:].rstrip(".") if message[:2] != message[:2].upper() else message
    return UsageError(sentence, next_step=f"{path} --help")


def _no_such_option(name: str, path: str, known: list[str]) -> UsageError:
    from difflib import get_close_matches

    sentence = f"there is no option `{name}` here"
    if name == "--no-commands":
        why = f"`{path}` runs what the spec names; `plan`, `validate`, `render`, `status` and `verify` do without"
        return UsageError(f"{sentence}: {why}", next_step=command("plan --no-commands"))
    for ours in _ELSEWHERE.get(name, ()):
        if ours in known:
            return UsageError(f"{sentence}; did you mean `{ours}`?", next_step=f"{path} {ours}")
        group, _, verb = path.rpartition(" ")
        if ours == "sql" and group.endswith(" migrate") and verb in {"upgrade", "downgrade"}:
            return UsageError(f"{sentence}; `{ours}` prints what would be run", next_step=f"{group} {ours}")
    bare = {each.lstrip("-"): each for each in known if each.startswith("--")}
    near = [bare[each] for each in get_close_matches(name.lstrip("-"), bare, n=1, cutoff=_ALIKE)]
    return UsageError(f"{sentence}; did you mean `{near[0]}`?" if near else sentence, next_step=f"{path} --help")


def _options(ctx: click.Context | None) -> list[str]:
    if ctx is None:
        return []
    options = [each for each in ctx.command.get_params(ctx) if isinstance(each, click.Option)]
    return [name for each in options for name in each.opts]
