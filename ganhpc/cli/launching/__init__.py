"""Starting runs: here, through a scheduler, as a scan.

Side: login. May import: core, datasets, runs, scans, launch, analysis, cli below.
"""
