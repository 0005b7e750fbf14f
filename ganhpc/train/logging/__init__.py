"""Records of a training: metrics.jsonl, TensorBoard, sample images.

Side: compute. May import: core, datasets, runs, train below.
"""
