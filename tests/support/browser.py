"""A headless Chromium, asked over a pipe by its DevTools protocol: what a page looks like, and what it does.

https://chromedevtools.github.io/devtools-protocol/ ; with ``--remote-debugging-pipe`` it reads messages from file
descriptor 3 and writes them to 4, each with a zero byte behind it.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
AXE = "4.14.1"
_TIMEOUT = 60.0
_CACHE = Path.home() / ".cache" / "provision-tests"
_SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """One Chromium with one page."""

    def __init__(self, process: subprocess.Popen[bytes], read: int, write: int) -> None:
        self._process, self._read, self._write = process, read, write
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command, and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._heard(answer)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def open(self, path: Path, *, width: int = 1280, scheme: str = "light", media: str = "screen") -> None:
        """Show a file at a width, in a colour scheme; wait until it is loaded."""
        self.complaints, self.requests = [], []
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + _TIMEOUT
        while self.evaluate("location.href + document.readyState") != f"{path.as_uri()}complete":
            assert time.monotonic() < deadline, "the page does not load"

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def print(self, path: Path) -> None:
        """Write the page as a PDF file."""
        found = self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def violations(self) -> list[str]:
        """Return what axe-core complains about: each rule with the first elements that break it."""
        if not self.evaluate("typeof axe === 'object'"):
            self.evaluate(axe() + ";0")
        each = "v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html + ' ' + n.failureSummary).join(' | ')"
        found = self.evaluate(f"axe.run({{resultTypes: ['violations']}}).then(r => r.violations.map(v => {each}))")
        return list(found)

    def _heard(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded":
                self.complaints.append(json.dumps(parameters))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], _TIMEOUT)[0], "the browser does not answer"
            read = os.read(self._read, 1 << 20)
            assert read, "the browser is gone"
            self._buffer += read
        message, self._buffer = self._buffer.split(b"\0", 1)
        found: dict[str, Any] = json.loads(message)
        return found


def program() -> str:
    """Return the path of the browser; where there is none, the test is skipped, or fails in a pipeline."""
    found = next((path for each in PROGRAMS if (path := shutil.which(each))), None)
    if found is None:
        pytest.skip("there is no Chromium; on Debian: apt-get install chromium")
    return found


@cache
def axe() -> str:
    """Return the script of axe-core, which npm fetches once into a cache."""
    archive = _CACHE / f"axe-core-{AXE}.tgz"
    if not archive.exists():
        if shutil.which("npm") is None:
            pytest.skip("there is no npm to get axe-core with")
        _CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(("npm", "pack", "--silent", f"axe-core@{AXE}"), cwd=_CACHE, check=True, capture_output=True)
    import tarfile

    with tarfile.open(archive) as packed:
        file = packed.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


@contextmanager
def browser() -> Iterator[Browser]:
    """Have a browser with a profile of its own, which goes away with it."""
    path = program()
    home = Path(tempfile.mkdtemp(prefix="provision-browser-"))
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    command = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
    argv = ("bash", "-c", command, path, *_SWITCHES, f"--user-data-dir={home}", "about:blank")
    process = subprocess.Popen(
        argv,
        pass_fds=(to_read, from_write),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(home)},
    )
    os.close(to_read)
    os.close(from_write)
    try:
        yield Browser(process, from_read, to_write)
    finally:
        os.close(to_write)
        os.close(from_read)
        process.terminate()
        process.wait(timeout=_TIMEOUT)
        shutil.rmtree(home, ignore_errors=True)
