"""What finished and running runs tell, read from run folders only: tables, reports, TensorBoard.

Side: login. May import: core, runs, scans, datasets.
"""
