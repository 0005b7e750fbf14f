"""The command line: one command per experiment, plus the verbs. Nothing here imports torch, but what describes a network."""
