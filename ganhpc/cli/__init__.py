"""The command line: one command per experiment, plus the verbs. Nothing here imports torch but `describe` and `sample`.

Side: login. May import: core, datasets, runs, scans, jobs, launch, analysis; in `describe` and `sample` train, too.
"""
