"""The sections of a report, one file a subject.

Side: login. May import: core, datasets, runs, scans, analysis below.
"""
