"""Foundations of a training: its clock, checkpoints, process group, random states, CUDA graphs.

Side: compute. May import: core, datasets, runs.
"""
