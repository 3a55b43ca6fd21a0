"""The server of ``tests/server``, and which trees are tried: those that ``PROVISION_TREES`` names."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

_SERVER = Path(__file__).parent.parent / "server" / "conftest.py"
_spec = importlib.util.spec_from_file_location("tests_server_conftest", _SERVER)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _module
_spec.loader.exec_module(_module)
sys.path.insert(0, str(Path(__file__).parent))  # helpers beside the tests: import mode importlib adds nothing
server, database = _module.server, _module.database


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the trees that were not asked for: trying one installs a package and its dependencies."""
    from installed import PACKAGES

    wanted = {name for name in os.environ.get("PROVISION_TREES", "").split(",") if name}
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    if unknown := wanted - set(PACKAGES):
        raise pytest.UsageError(f"PROVISION_TREES names {', '.join(sorted(unknown))}; there are {', '.join(PACKAGES)}")
    left = [item for item in here if isinstance(item, pytest.Function) and item.callspec.params["name"] not in wanted]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]
