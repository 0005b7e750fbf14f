"""Tasks: losses and the order of updates, one file each; looked up by module name.

Side: compute. May import: core, datasets, runs, train below.
"""
