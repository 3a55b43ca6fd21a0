"""The nouns of the program: what is declared, what is there, and what would lead from one to the other.

*Desired* and *Observed* are both a mapping of :class:`Address` to :class:`State`. An absent thing has no key; a thing
that cannot be seen yet, because the server is down, is :data:`UNKNOWN`. A :class:`Plan` is an ordered tuple of
:class:`Step`, and a step carries the :data:`Effect` values that only :mod:`provision.apply` performs. Everything here
is a frozen value that compares with ``==`` and can be printed without giving a secret away.
"""

from provision.model.effects import (
    VERIFIER,
    CheckData,
    CompareOutput,
    CopyPath,
    Effect,
    EndSessions,
    EngineCall,
    EngineOperation,
    HoldWrites,
    MakeDirectory,
    Migrate,
    MovePath,
    ReloadSettings,
    RemovePath,
    RunLocalSql,
    RunProgram,
    RunSql,
    Scripts,
    ServerCall,
    WaitReady,
    WriteFile,
)
from provision.model.plan import (
    INTERRUPTED,
    Action,
    Outcome,
    Plan,
    Progress,
    Result,
    Step,
    Wishes,
)
from provision.model.secret import (
    MASK,
    Secret,
)
from provision.model.server import (
    Endpoint,
    Query,
    Session,
    Status,
)
from provision.model.state import (
    NOT_KNOWN,
    UNKNOWN,
    Address,
    Change,
    Desired,
    Observed,
    State,
    Unknown,
    changes,
)

__all__ = [
    "INTERRUPTED",
    "MASK",
    "NOT_KNOWN",
    "UNKNOWN",
    "VERIFIER",
    "Action",
    "Address",
    "Change",
    "CheckData",
    "CompareOutput",
    "CopyPath",
    "Desired",
    "Effect",
    "EndSessions",
    "Endpoint",
    "EngineCall",
    "EngineOperation",
    "HoldWrites",
    "MakeDirectory",
    "Migrate",
    "MovePath",
    "Observed",
    "Outcome",
    "Plan",
    "Progress",
    "Query",
    "ReloadSettings",
    "RemovePath",
    "Result",
    "RunLocalSql",
    "RunProgram",
    "RunSql",
    "Scripts",
    "Secret",
    "ServerCall",
    "Session",
    "State",
    "Status",
    "Step",
    "Unknown",
    "WaitReady",
    "Wishes",
    "WriteFile",
    "changes",
]
