"""Submission: jobs prepared and sent, plans as scripts, and what became of them.

Side: login. May import: core, runs, scans, launch below.
"""
