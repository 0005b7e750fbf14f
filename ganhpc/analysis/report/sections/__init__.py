"""The sections of a report, one file a subject.

Side: login. May import: core, runs, scans, analysis below.
"""
