"""An Alembic tree, known without running it: its files, their order, and what a target means for a database.

Loading a tree through Alembic imports the application (seconds, and it fails without the application's environment).
The revision files hold nearly everything that a plan needs as literals, so it is read from there by
:mod:`~provision.alembic.tree.source`, placed in a :class:`Graph`, and judged by Alembic's own rules. Alembic itself is
loaded only when there is something to migrate.
"""
