"""The verbs, one file each; none imports another.

Side: login. May import: core, datasets, runs, scans, jobs, launch, analysis, cli below; in `describe` and `sample` train, too.
"""
