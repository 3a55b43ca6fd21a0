"""Goldens: data that an earlier run made from nothing, kept as a copy to begin the next such run with.

A golden is a cache, never a truth: it is used only for data that is made new, and only where all that went into it is
as it was (:mod:`~provision.golden.key`). What the copy then is gets looked at, planned and proved like anything else.
"""
