"""fvcore's own operation count, to stand beside ours, and what each of the two leaves out."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

_FVCORE = (
    "fvcore counts a multiplication and the addition that follows it as one operation, in convolutions and matrix "
    "products alike.",
    "fvcore leaves out biases, activations, pooling by maximum, and all else that it has no rule for.",
)
_FVCORE_OWN_RULES = "fvcore charges some layers ({}) by rules of its own, in single operations and not in pairs."
_OURS = (
    "Ours counts additions, multiplications and maximums apart, biases included, and each exponential, root or "
    "division by a computed value as one other operation.",
    "Ours leaves out the moving and copying of values, and calculations on integers.",
)
PAIRED = {"conv", "linear", "matmul", "bmm", "einsum"}
"""The operators that fvcore counts in multiply-accumulate pairs."""


def fvcore_count(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    """The figure of fvcore's FlopCountAnalysis for one call of `module` (in evaluation mode) on `inputs`.

    Returns `total`, `macs` (its part that is multiply-accumulate pairs of convolutions and matrix products),
    `by_operator`, `unsupported` (operators it met and has no rule for, with their number), and the
    sentences `fvcore_leaves_out` and `ours_leaves_out`; `error` in their place where fvcore cannot trace the network.
    """
    try:
        with _quiet():
            from fvcore.nn import FlopCountAnalysis

            analysis = FlopCountAnalysis(module, inputs).tracer_warnings("none")
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            by_operator = {name: int(n) for name, n in analysis.by_operator().items() if n}
            unsupported = dict(sorted(analysis.unsupported_ops().items()))
    except Exception as error:  # whatever torch.jit.trace meets in a network's code
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return {"error": f"fvcore could not trace this network: {first_line}"}
    return {
        "total": sum(by_operator.values()),
        "macs": sum(n for name, n in by_operator.items() if name in PAIRED),
        "by_operator": by_operator,
        "unsupported": unsupported,
        "fvcore_leaves_out": [*_FVCORE, *_in_this_network(by_operator, unsupported)],
        "ours_leaves_out": list(_OURS),
    }


def _in_this_network(by_operator: dict[str, int], unsupported: dict[str, int]) -> Iterator[str]:
    if own := [name for name in by_operator if name not in PAIRED]:
        yield _FVCORE_OWN_RULES.format(", ".join(own))
    if unsupported:
        listed = ", ".join(f"{name.removeprefix('aten::')} ({n})" for name, n in unsupported.items())
        yield f"In this network fvcore has no rule for: {listed}."


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
