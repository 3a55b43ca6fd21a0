"""Seeds: files and programs that bring a database its first rows, after its migrations.

``files`` finds them, ``script`` and ``table`` run a file, ``program`` runs a program, and ``ledger`` notes in the
database what ran; :mod:`provision.kinds.seed` decides what is to run.
"""
