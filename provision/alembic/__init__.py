"""Everything that is Alembic's: its trees, the process that runs it, its verbs and its checks."""
