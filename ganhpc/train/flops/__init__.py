"""Counting floating-point operations below modules and functions, operator by operator.

Side: compute. May import: core, datasets, runs, train below.
"""

from __future__ import annotations

from ganhpc.train.flops import backward as backward
from ganhpc.train.flops import forward as forward
from ganhpc.train.flops import products as products
from ganhpc.train.flops.registry import MOVEMENT, Call, CountingMode, tensors

__all__ = ["MOVEMENT", "Call", "CountingMode", "tensors"]
