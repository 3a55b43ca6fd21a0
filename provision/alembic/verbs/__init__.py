"""Alembic's own verbs on the trees of a spec: the same connection, interpreter and options as in an apply.

What only reads files (``heads``, ``history``) needs neither a runtime nor a server. What reads the database asks in
read-only transactions. What changes it goes the way of an apply: a plan of one step, performed under both locks.
"""
