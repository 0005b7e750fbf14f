"""Tables, reports and TensorBoard of finished and running runs, read from run folders only.

Side: login. May import: core, datasets, runs, scans.
"""
