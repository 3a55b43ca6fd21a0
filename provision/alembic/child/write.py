"""Writes a revision file: an empty one, one with what autogenerate has found, or one that joins several heads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from . import imports, operations
from .channel import AfterWritingError
from .compare import compare, revision_context
from .config import load_revisions, load_tree

if TYPE_CHECKING:
    from .channel import Progress
    from .config import Request


def serve(config: Any, request: Request, progress: Progress) -> None:
    """Say an ``operation`` for each that was found, and ``written`` with the path of each file."""
    script = load_tree(config, progress)
    given = request["revision"]
    context = revision_context(config, script, given)
    if given["autogenerate"] or _runs_env(config):
        if request["lock"] is None:
            progress.channel.say("needs-server")
            return
        compare(config, script, context, request, progress)
    load_revisions(script, progress)
    scripts = context.generated_revisions
    found = [line for each in scripts for made in each.upgrade_ops_list for line in operations.lines(made)]
    for line in found:
        progress.channel.say("operation", text=line)
    if given["autogenerate"] and not found and not request["allow_empty"]:
        return
    progress.stage = "write"
    for each in scripts if given["autogenerate"] else ():
        imports.complete(each, script, context)
    _bring_template(script)
    written = _watch_files(script)
    try:
        for made in context.generate_scripts():
            if made is not None:
                progress.channel.say("written", path=made.path, revision=made.revision)
    except Exception as error:
        if written:
            raise AfterWritingError(written[-1], error) from error
        raise


def _watch_files(script: Any) -> list[str]:
    """Return a list in which each file stands as soon as Alembic has written it, and before its hooks run."""
    original, written = script._generate_template, []  # noqa: SLF001

    def generate(source: Any, path: Any, **options: Any) -> Any:
        made = original(source, path, **options)
        written.append(os.fspath(path))
        return made

    script._generate_template = generate  # noqa: SLF001
    return written


def _runs_env(config: Any) -> bool:
    option = getattr(config, "get_alembic_option", config.get_main_option)  # it reads pyproject.toml too, since 1.16
    return str(option("revision_environment") or "").lower() in ("true", "1", "yes", "on")


def _bring_template(script: Any) -> None:
    """Let a tree without a ``script.py.mako`` take Alembic's own: it is needed here, and by nothing that migrates."""
    import alembic

    original = script._generate_template  # noqa: SLF001
    own = os.path.join(os.path.dirname(alembic.__file__), "templates", "generic", "script.py.mako")  # noqa: PTH118, PTH120

    def generate(source: Any, *arguments: Any, **options: Any) -> Any:
        return original(source if os.path.exists(source) else own, *arguments, **options)  # noqa: PTH110

    script._generate_template = generate  # noqa: SLF001
