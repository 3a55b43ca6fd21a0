"""The only door to the world: files, processes, the Docker engine, PostgreSQL connections, locks and the clock.

Only :mod:`provision.observe` and :mod:`provision.apply` come in here.
"""
