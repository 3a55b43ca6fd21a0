"""The way back to the parent: events without a secret in them, and how far the work is that they are about."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
import traceback
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .protocol import Event, Failure, Request, RevisionStart

NAMES = frozenset(
    {"revision", "table", "path", "script", "place", "sql", "event", "stage", "sqlstate", "kind", "phase"}
)
"""What the parent looks things up with, and SQL to be run as it is: a password like ``app`` can be a part of them, and
must not change them. No SQL is said that :meth:`Channel.tells` of."""

_SHORT = 6
_LOADING = ("alembic.script.base", f"{__package__}.code_cache")
"""The modules whose ``_load_revisions`` runs revision files."""
_PATIENCE = 0.2
"""How long an event is held back, in seconds."""


class ReportedError(Exception):
    """An error of our own; ``stage`` tells the parent what it is, ``place`` is the file that it is about."""

    def __init__(self, stage: str, message: str = "", place: str | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.place = place


def masked_forms(secrets: Iterable[str]) -> list[str]:
    """Return the ways in which secrets can look in a text: as they are, in a URL, in a ``repr``; longest first."""
    forms = set()
    for secret in secrets:
        quoted = {quote(secret, safe=safe) for safe in ("/", "", " +")} | {quote_plus(secret)}  # " +" is SQLAlchemy's
        literal = secret.replace("'", "''")
        escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        forms |= {secret, literal, repr(secret)[1:-1], *escaped, *quoted, *(each.replace("%", "%%") for each in quoted)}
    return sorted((form for form in forms if form), key=len, reverse=True)


class Channel:
    """One JSON object a line, with no secret in it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._masked: list[str] = []
        self._lock = threading.Lock()
        self._held: list[Event] = []  # and not in the stream, which a fork would send once more
        self.is_holding: threading.Event | None = None

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask texts from now on, also the way they look inside a URL."""
        self._masked = masked_forms(secrets)

    def mask(self, text: str) -> str:
        """Return the text without the secrets."""
        for form in self._masked:
            text = text.replace(form, "********")
        return text

    def tells(self, text: str) -> bool:
        """Whether a secret is in the text; one of a few characters counts as a whole word only."""
        return any(
            form in text if len(form) >= _SHORT else re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text)
            for form in self._masked
        )

    def say(self, event: Event, *, soon: bool = False, in_place: bool = False) -> None:
        """Send one event. ``soon``: hold it back, and send it with the next one; after :meth:`hold`, not for long.

        ``in_place``: it replaces the last one that is held back, if one is.
        """
        with self._lock:
            del self._held[len(self._held) - in_place :]
            self._held.append(event)
            if not soon:
                self._send()
        if soon and self.is_holding is not None:
            self.is_holding.set()

    def hold(self) -> None:
        """Hold back from now on what can wait: to send a line costs both processes more than a small revision does."""
        self.is_holding = threading.Event()
        threading.Thread(target=self._send_held, args=(self.is_holding,), daemon=True).start()

    def _send(self) -> None:
        self._stream.write("".join(map(self._line, self._held)))
        self._stream.flush()
        self._held.clear()

    def _line(self, event: Event) -> str:
        masked = {key for key, value in event.items() if isinstance(value, str) and key not in NAMES}
        shown = {key: self.mask(cast("str", value)) if key in masked else value for key, value in event.items()}
        return json.dumps(shown) + "\n"

    def _send_held(self, is_holding: threading.Event) -> None:
        while is_holding.wait():
            is_holding.clear()
            time.sleep(_PATIENCE)
            with self._lock:
                self._send()


class Progress:
    """Which revision is running, since when, and whether anything was committed meanwhile."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.is_followed = False
        """Whether the engines of this process report to us already."""
        self.has_settled = False
        self.request: Request | None = None
        """What is served."""
        self.sessions: list[Callable[[], Any]] = []
        """Weak references to what SQLAlchemy's pools keep of each connection that was opened."""
        self.begin()

    def begin(self) -> None:
        """Forget what is known of the request before."""
        self.stage = "import"
        self.has_begun = False
        """Whether a revision has."""
        self.revision: str | None = None
        self.since = 0.0
        self.commits = 0
        self.in_function = False
        """Whether the revision's own function runs, and not Alembic around it."""
        self.is_undone = False
        """Whether the last statement of the running revision rolled back its transaction."""
        self.go = threading.Semaphore(0)
        """Released by each word that the parent sends after the request."""
        self.tables: list[str] = []
        """The version tables that env.py has kept so far in this run, with their schemas; the last is the current."""
        self.on_server: set[str] = set()
        """What statements had the server read: its files, or what a program prints."""
        self.own: list[str] = []
        """Directories whose files are the user's, wherever they are installed."""

    def start(self, step: Any) -> None:
        """Say that a revision starts."""
        self.stage, self.revision = "revision", str(step.revision.revision)
        self.since, self.commits, self.is_undone = time.monotonic(), 0, False
        message, table = first_line(step.doc), self.tables[-1]
        event: RevisionStart = {
            "event": "revision-start",
            "revision": self.revision,
            "message": message,
            "table": table,
        }
        self.channel.say(event, soon=self.has_begun and self.channel.is_holding is not None)
        self.has_begun = True

    def done(self, step: Any, *, soon: bool = False) -> None:
        """Say that it has run, and is written down; ``soon``: with the start of the next one."""
        self.channel.say(
            {
                "event": "revision-done",
                "revision": str(step.revision.revision),
                "message": first_line(step.doc),
                "table": self.tables[-1],
                "seconds": round(time.monotonic() - self.since, 4),
            },
            soon=soon or self.channel.is_holding is not None,
            in_place=True,  # of its start
        )
        self.stage, self.revision, self.commits = "env", None, 0


def first_line(text: str | None) -> str:
    """Return the first line of a docstring."""
    return (text or "").strip().split("\n")[0].strip()


def line_in(path: str | None) -> int | None:
    """Return the line of a file that is being run, as far inside as it goes; None where none of it is."""
    frame: Any = sys._getframe(1)  # noqa: SLF001  # what traceback and warnings look with
    while frame is not None and path is not None:
        if frame.f_code.co_filename == path:
            return int(frame.f_lineno)
        frame = frame.f_back
    return None


def describe(error: BaseException, progress: Progress) -> Failure:
    """Return what a person needs to know about an error."""
    original = getattr(error, "orig", None) or error
    message = re.sub(r"^<class '[^']*'>: ", "", str(original).strip())  # asyncpg's, through SQLAlchemy
    hidden = isinstance(getattr(error, "statement", None), str)
    if hidden:
        error.hide_parameters = True  # type: ignore[attr-defined]
    return {
        "event": "error",
        "stage": _stage(error, progress),
        "revision": progress.revision,
        "type": type(original).__name__,
        "message": message or type(original).__name__,
        "sqlstate": getattr(original, "pgcode", None) or getattr(original, "sqlstate", None),
        "statement": error.statement if hidden else None,  # type: ignore[attr-defined]
        "place": _place(error, progress.own),
        "clean": progress.commits == 0,
        "address": _address(error),
        "versions": {
            name: str(getattr(sys.modules.get(name), "__version__", "")) for name in ("alembic", "sqlalchemy")
        },
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


def _address(error: BaseException) -> str | None:
    """Return the address of a connection that failed, where the driver's own variables tell: ``host:port``."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        host, port = frame.f_locals.get("host"), frame.f_locals.get("port")
        if isinstance(host, str) and str(port).isdigit():
            found = f"{host}:{port}"
    return found


def _stage(error: BaseException, progress: Progress) -> str:
    """Return where an error belongs; ``env.py`` can have Alembic load the revision files, too."""
    if progress.stage == "env" and any(
        frame.f_code.co_name == "_load_revisions" and frame.f_globals.get("__name__") in _LOADING
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ):
        return "load"
    return error.stage if isinstance(error, ReportedError) else progress.stage


def _place(error: BaseException, own: Sequence[str]) -> str | None:
    """Return ``file:line`` of the last line of the user's own code that the error went through."""
    if isinstance(error, ReportedError) and error.place:
        return error.place
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    ours = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120
    standard = os.path.dirname(os.path.realpath(os.__file__)) + os.sep  # noqa: PTH120
    libraries = ("site-packages", "dist-packages", "<", ours, standard)
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    found = None
    for name, line in frames:
        # A tree that is installed with its application is the user's too.
        if name.startswith(tuple(own)) or not any(part in os.path.realpath(name) for part in libraries):
            found = f"{name}:{line}"
    return found
