"""Networks, one file a family. Constructors take plain values only, since definitions name them.

Side: compute. May import: core, datasets, runs, train below.
"""
