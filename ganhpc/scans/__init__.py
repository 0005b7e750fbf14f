"""Scans: the grid of values that are tried, its spelling on the command line, and its record.

Side: both. May import: core, datasets, runs.
"""
