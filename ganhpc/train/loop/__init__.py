"""The one training loop: set-up, steps, evaluations, stages, result.

Side: compute. May import: core, datasets, runs, train below.
"""
