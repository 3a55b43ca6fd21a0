"""``provision init``: what a project's directory has, and the files that an apply still needs.

Nothing of the project is run or imported. Python is read as a syntax tree, and configuration as text.
"""
