"""What a migration needs of the system: the lock, the child process, the ledger, and what the server says meanwhile.

:mod:`.migrate` is where a run begins; nothing is imported here, because a run with nothing to do needs only
:mod:`.files`.
"""
