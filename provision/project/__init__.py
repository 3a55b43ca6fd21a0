"""A project's directory, as ``provision init`` sees it: what is there, and which files are missing.

Nothing of the project is run or imported. Python is read as a syntax tree, and configuration as text.
"""

from provision.project.begin import TEMPLATES, begin
from provision.project.found import Beginning, Compose, Directory, Interpreter, NewFile, Options

__all__ = ["TEMPLATES", "Beginning", "Compose", "Directory", "Interpreter", "NewFile", "Options", "begin"]
