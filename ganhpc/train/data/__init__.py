"""Images as batches on the device, and the data sets that need torch.

Side: compute. May import: core, datasets, runs, train below.
"""
