"""Counting floating-point operations below modules and functions, operator by operator."""

from __future__ import annotations

from ganhpc.opcount import backward as backward
from ganhpc.opcount import forward as forward
from ganhpc.opcount import products as products
from ganhpc.opcount.registry import MOVEMENT, Call, CountingMode, tensors

__all__ = ["MOVEMENT", "Call", "CountingMode", "tensors"]
