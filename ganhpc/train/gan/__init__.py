"""Parts of GANs besides their losses: exported generators, the watch for collapse, and measures of generated images.

Side: compute. May import: core, datasets, runs, train below.
"""
