"""A run on disk: its definition and options, its folder and state, what was submitted for it, the catalogue of figures.

Side: both. May import: core, datasets.
"""
