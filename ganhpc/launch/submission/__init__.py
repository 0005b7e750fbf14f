"""Submission: jobs prepared and sent, plans as scripts, and what became of them.

Side: login. May import: core, datasets, runs, scans, launch below.
"""
