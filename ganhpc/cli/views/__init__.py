"""What is shown on a terminal.

Side: login. May import: core, runs, scans, launch, analysis.
"""
