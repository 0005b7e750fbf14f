"""Measurements of this machine: ceilings, training steps and the input path, measured one way for `launch.py bench` and for benchmarks/.

Side: compute. May import: core, datasets, runs, jobs, train below.
"""
