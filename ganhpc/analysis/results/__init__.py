"""Rows of tables: read, filtered, ranked and compared.

Side: login. May import: core, datasets, runs, scans.
"""
