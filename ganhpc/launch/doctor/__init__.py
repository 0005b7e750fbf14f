"""A look over the machine: what training needs, and what fixes what is missing.

Side: login. May import: core, runs, datasets, launch below.
"""
