"""Experiment definitions, one file each: `python launch.py NAME`.

Side: both. May import: core, datasets, runs, scans.
"""
