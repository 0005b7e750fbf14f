"""Schedulers: OAR, Slurm and the queue of this machine, one file each, behind one interface.

Side: login. May import: core, datasets, runs, scans, launch below.
"""
