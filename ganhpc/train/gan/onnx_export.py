"""A generator as ONNX, for programs that don't have PyTorch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from ganhpc.core.errors import UserError
from ganhpc.core.files import atomic_open
from ganhpc.train.gan.generator_io import example


def write_onnx(net: nn.Module, path: Path) -> None:
    """Write `net` (latent vectors [n, latent_dim], with classes [n] where it has some, or images [n, C, H, W], -> images), for any n, to one file.

    Raises UserError where the packages for it are missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"--onnx needs the package {error.name}: pip install onnx onnxscript.") from None
    given = {"z" if hasattr(net, "latent_dim") else "source": example(net, 2)}
    if getattr(net, "classes", 0):
        given["y"] = torch.zeros(2, dtype=torch.long)
    quiet = io.StringIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(quiet):
        warnings.simplefilter("ignore")
        batch = torch.export.Dim("n", min=1)
        program = torch.onnx.export(
            net.eval(),
            tuple(given.values()),
            input_names=list(given),
            output_names=["images"],
            dynamic_shapes=({0: batch},) * len(given),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    with atomic_open(path) as file:
        file.write(program.model_proto.SerializeToString())
