"""The planner: time to go, a policy, existing jobs and the clock become slots with reasons.

Side: login. May import: core, datasets, runs, scans, launch below.
"""
