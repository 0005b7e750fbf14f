"""CIFAR-10: its published figures and the four sources that a copy can come from.

Side: both. May import: core, datasets.
"""
