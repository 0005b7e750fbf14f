"""Experiment definitions, one file each: `python launch.py NAME`."""
