"""Terminal views.

Side: login. May import: core, datasets, runs, scans, launch, analysis, cli below.
"""
