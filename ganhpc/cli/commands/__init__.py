"""The verbs, one file each; none imports another.

Side: login. May import: everything but train, cli.main.
"""
