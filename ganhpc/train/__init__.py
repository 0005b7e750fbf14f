"""The training itself, on the compute node: `python -m ganhpc.train RUN_FOLDER`.

Side: compute. May import: core, datasets, runs; in `bench` jobs, too.
"""
