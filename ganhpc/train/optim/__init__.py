"""Optimizers and learning-rate schedules.

Side: compute. May import: core, runs, train.runtime.
"""
