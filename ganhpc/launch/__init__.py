"""From a definition to jobs: policies, plans, schedulers, submission, and the agent on the node.

Side: login. May import: core, datasets, runs, scans.
"""
