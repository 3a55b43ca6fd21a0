"""The browser of the user, as the desktop or the variable ``BROWSER`` names it."""

from __future__ import annotations

import webbrowser
from pathlib import Path


def show(path: Path) -> bool:
    """Open a file, and tell whether there is a browser.

    https://docs.python.org/3/library/webbrowser.html
    """
    try:
        return webbrowser.open(path.absolute().as_uri())
    except webbrowser.Error:
        return False
