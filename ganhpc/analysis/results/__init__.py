"""Rows of tables: read, filtered, ranked and compared.

Side: login. May import: core, runs, scans.
"""
