from collections.abc import Callable
from typing import Any

import anyio


def in_a_worker(_config: Any, run: Callable[[], None]) -> None:
    anyio.run(anyio.to_thread.run_sync, run)
