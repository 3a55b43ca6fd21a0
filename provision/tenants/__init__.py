"""Tenants: one migration tree for many databases of a server, or many schemas of a database.

- ``declared`` is what the spec says of them,
- ``choosing`` is what ``--tenant`` and ``--except`` leave of that,
- ``asking`` asks the server which there are and where each of them is, which ``found`` holds as a state,
- ``workers`` migrates those that are behind, and ``following`` tells what becomes of them.
"""
