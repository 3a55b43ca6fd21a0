"""Declared privileges against what is there: the core that the kinds of privileges share.

:mod:`.policy` is what a spec declares, with the meaning of its :mod:`.words`; :mod:`.differing` compares it with the
catalogs; :mod:`.judgement` makes states of that, with :mod:`.corrections` and :mod:`.granting` for the statements and
:mod:`.wording` for people. Nothing here asks a server.
"""
