"""Terminal views.

Side: login. May import: core, runs, scans, launch, analysis.
"""
