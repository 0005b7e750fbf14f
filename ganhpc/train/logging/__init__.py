"""Records of a training: metrics.jsonl, TensorBoard, sample images.

Side: compute. May import: core, runs, train below.
"""
