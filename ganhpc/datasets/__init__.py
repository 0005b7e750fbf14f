"""Data sets without torch: the list of them, finding, fetching, checking, decoding and caching their images.

Side: both. May import: core.
"""
