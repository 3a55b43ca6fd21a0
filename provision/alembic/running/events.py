"""What is worth seeing while a tree is migrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from provision.alembic.tree import ledger


@dataclass(frozen=True, slots=True)
class MigrationEvent:
    """Something worth seeing while a tree is migrated; as text, one line.

    ``subject`` is a revision's id, who holds a lock, an index, a line that a program printed, or why the ledger could
    not be written.
    """

    what: Literal["waiting", "started", "blocked", "retrying", "printed", "done", "nothing", "invalid", "unrecorded"]
    subject: str = ""
    message: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        name = f"{self.subject}  {self.message}".rstrip()
        match self.what:
            case "waiting":
                return f"waiting for the migration of {self.subject}"
            case "started":
                return name
            case "printed":
                return self.subject
            case "blocked":
                return f"{self.message} waits for {self.subject}"
            case "retrying":
                return f"{self.subject} got no lock and was rolled back; again in {self.seconds:g} s"
            case "done":
                return f"{name} ({self.seconds:.2f} s)"
            case "nothing":
                return "somebody else has migrated meanwhile; nothing to do"
            case "invalid":
                return f"{self.subject} is INVALID, and no query uses it; {self.message}"
            case "unrecorded":
                return (
                    f"what was in the revision files cannot be noted in the table {ledger.TABLE}: {self.subject}; "
                    "let the role write there, or set `ledger: false` in `migrations`"
                )
