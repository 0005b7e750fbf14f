"""The rules that jobs must keep: policies, the calendar of working days and edges, and the constraints that follow for one user's jobs.

Side: login. May import: core, datasets, runs, scans.
"""
