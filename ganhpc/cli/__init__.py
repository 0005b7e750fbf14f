"""The command line: one command per experiment, plus the verbs. Nothing here imports torch, but what describes or samples a network.

Side: login. May import: everything but train.
"""
