"""The folder on the search path of users' programs: with `ganhpc` alone in it, `jobs`, `tests` and the like are their own.

Side: compute. May import: nothing.
"""
