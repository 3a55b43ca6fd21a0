"""Runs one Alembic migration in a process of its own: the side that is the user's.

``env.py`` and the revisions are code of the project: they print, change the logging of the whole process, read settings
and import the application. So this package runs under the project's interpreter and needs nothing of ours, only Python
3.8, Alembic 1.8 and SQLAlchemy 1.4; started by its path, it is a package of another name there, so that nothing of
the project is hidden by it. It imports Alembic at once and says ``ready``, so that it can be started while the server
is still coming up; then it reads one request from its standard input (the only way for a password to come in) and
answers with one JSON event a line. Standard output is a private channel: whatever the user's code prints goes to
standard error.
"""
