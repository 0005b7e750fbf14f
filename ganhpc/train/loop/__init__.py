"""The one training loop: set-up, steps, evaluations, stages, result.

Side: compute. May import: core, runs, datasets, train below.
"""
