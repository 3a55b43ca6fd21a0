"""Imports what an ``env.py`` imports, and prints as JSON what cannot be; ``env.py`` itself does not run.

A program of its own, for the interpreter of a tree: ``python imports.py ENV.PY [DIRECTORY…]``, with the directories in
which modules are looked for first. The last line that it prints has the versions of Python and Alembic, too.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys


def names(source: str) -> list[tuple[str, str]]:
    r"""Return the modules, and what is taken out of each (or nothing), that a file imports at its top.

    >>> names("import a.b\nfrom c import d\nfrom . import e\nif True:\n    import f")
    [('a.b', ''), ('c', 'd')]
    """
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found += [(each.name, "") for each in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found += [(node.module, each.name) for each in node.names]
    return found


def fault(module: str, name: str) -> str:
    """Return why an import fails; empty where it does not."""
    try:
        found = importlib.import_module(module)
        if name and name != "*" and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
    except BaseException as error:  # noqa: BLE001  # of the project, whatever it raises
        return f"{type(error).__name__}: {error}"
    return ""


def main(path: str, *places: str) -> None:
    """Print what is known of the imports of a file."""
    sys.path[:0] = places
    with open(path, encoding="utf-8") as file:  # noqa: PTH123  # a child imports little
        imported = names(file.read())
    faults = {module: why for module, name in imported if (why := fault(module, name))}
    alembic = sys.modules.get("alembic")
    version = getattr(alembic, "__version__", "") if alembic else fault("alembic", "")
    print(json.dumps({"python": sys.version.split()[0], "alembic": version, "faults": faults}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
