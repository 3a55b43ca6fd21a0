"""The server of ``tests/server``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_SERVER = Path(__file__).parent.parent / "server" / "conftest.py"
_spec = importlib.util.spec_from_file_location("tests_server_conftest", _SERVER)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _module
_spec.loader.exec_module(_module)
server, database = _module.server, _module.database
