"""A look over the machine: what training needs, and what fixes what is missing.

Side: login. May import: core, datasets, runs, scans, launch below.
"""
