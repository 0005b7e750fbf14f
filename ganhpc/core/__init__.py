"""Small tools that know nothing of runs: errors, files, units, other programs, values of TOML files, the settings of the place.

Side: both. May import: nothing of ganhpc.
"""
