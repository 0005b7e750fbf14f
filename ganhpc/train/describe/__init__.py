"""A network described by running it: functions, tensors, weights, operations.

Side: compute. May import: core, datasets, runs, train below.
"""
