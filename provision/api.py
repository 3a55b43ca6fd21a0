"""The functions of the Python API: what has no environment yet, what this machine has, and what all specs share.

What a program can do with one environment is :class:`provision.environment.Environment`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.declared import Declared
from provision.errors import ProvisionError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from provision.doctor import Finding
    from provision.everywhere.found import Known, Listing
    from provision.init.found import Beginning


def initialise(
    directory: str | os.PathLike[str], *, name: str | None = None, image: str | None = None, port: str | None = None
) -> Beginning:
    """Write a spec, an Alembic environment and models where a directory lacks them, and overwrite nothing."""
    from provision.init import initialise as init
    from provision.init.found import Options

    return init.initialise(Path(directory), Options(name, image, port))


def examine(environment: Declared | None = None) -> tuple[Finding, ...]:
    """Say what would fail of an environment, or of this machine, before anything does; nothing is changed."""
    from provision import doctor

    return doctor.examine(environment)


def schema(file: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Return the JSON Schema of a spec, and write it into a file where one is named."""
    from provision.apply import schema_file

    if file is not None:
        schema_file.write(Path(file))
    return schema_file.made()


def environments(*, environ: Mapping[str, str] | None = None) -> Listing:
    """Return every environment of this machine and engine. Nothing is started, and no program of a project is run."""
    from provision.everywhere import listing
    from provision.system import variables

    with variables.using(environ):
        return listing(variables.environ())


def spec_of(row: Known, *, environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the spec of a listed environment, where it is there and means that one still."""
    if row.spec is None:
        return None
    try:
        made = Declared(row.spec, environ=environ).made
    except ProvisionError:
        return None
    return row.spec if (made.name, made.kept_in) == (row.name, row.directory) else None
