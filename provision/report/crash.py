"""The log file of an unexpected error: the traceback and what it takes to understand it, readable by its owner only.

Neither the values of variables nor the arguments of the command line are written, because either may hold a secret.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from traceback import format_exception

from provision import __version__


def record(error: BaseException) -> Path:
    """Write the traceback of an error to a new file and return its path."""
    text = "\n".join(
        (
            f"provision {__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"verb: {next((word for word in sys.argv[1:] if word.isalpha()), 'none')}",
            "",
            "".join(format_exception(error)),
        )
    )
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    for directory in (_log_directory(), Path(tempfile.gettempdir())):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(directory / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except OSError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        return directory / name
    sys.stderr.write(text)
    return Path("the lines above")


def _log_directory() -> Path:
    from platformdirs import user_log_dir

    return Path(user_log_dir("provision", appauthor=False))
