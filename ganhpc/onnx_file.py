"""A generator as ONNX, for programs that don't have PyTorch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from ganhpc.errors import UserError
from ganhpc.files import atomic_open


def write_onnx(net: nn.Module, path: Path) -> None:
    """Write `net` (latent vectors [n, latent_dim] -> images), for any n, to one file.

    Raises UserError where the packages for it are missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"--onnx needs the package {error.name}: pip install onnx onnxscript.") from None
    z = torch.zeros(2, int(net.latent_dim))  # type: ignore[arg-type]
    quiet = io.StringIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(quiet):
        warnings.simplefilter("ignore")
        batch = torch.export.Dim("n", min=1)
        program = torch.onnx.export(
            net.eval(), (z,), input_names=["z"], output_names=["images"], dynamic_shapes=({0: batch},), dynamo=True, verbose=False
        )  # fmt: skip
    assert program is not None
    with atomic_open(path) as file:
        file.write(program.model_proto.SerializeToString())
