"""Tenants: one migration tree for many databases of a server, or many schemas of a database.

- ``declared`` is what the spec says of them,
- ``query`` asks the server which there are, and ``behind`` where each of them is,
- ``workers`` migrates those that are behind.
"""
