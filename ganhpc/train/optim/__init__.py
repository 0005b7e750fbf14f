"""Optimizers and learning-rate schedules.

Side: compute. May import: core, datasets, runs, train below.
"""
