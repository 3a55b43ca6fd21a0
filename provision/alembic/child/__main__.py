"""Started by path, with any interpreter: loads the package beside this file under a name that nothing else has."""

from __future__ import annotations

import gc
import os
import sys

gc.disable()  # until everything is imported: it would only look through what stays

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  # nothing is imported from beside this file
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != _HERE]  # noqa: PTH100

from importlib import import_module, util  # noqa: E402

_NAME = "_provision_child"


def main() -> int:
    """Load the package, and serve one request."""
    spec = util.spec_from_file_location(_NAME, os.path.join(_HERE, "__init__.py"), submodule_search_locations=[_HERE])  # noqa: PTH118
    assert spec is not None  # noqa: S101  # for the type checker: the file is beside this one
    assert spec.loader is not None  # noqa: S101
    module = util.module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)
    return int(import_module(f"{_NAME}.serve").main())


if __name__ == "__main__":
    sys.exit(main())
