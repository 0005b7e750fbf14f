"""`python -m ganhpc.train.describe.measure_program MODULE:FUNCTION FILE MOST`: the size of the network of a user's program, as JSON.

The function returns (network, example input); it is named on the user's command line, and looked for in the folder of the program.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.core.printable import print_error
from ganhpc.runs import last_words
from ganhpc.runs.run_folder import State
from ganhpc.train.describe.describe_module import describe
from ganhpc.train.flops.counters import check_budget, count_parameters


def main(word: str, file: Path, most: int) -> int:
    """Count and write; with `most` above 0 no more parameters are allowed. Returns the exit code."""
    try:
        write_json(file, _measured(word, most))
        return 0
    except UserError as error:
        if not last_words.report(State.REFUSED, str(error), 2, 0):
            print_error(error)
        return 2


def _measured(word: str, most: int) -> dict[str, Any]:
    """Parameters, MACs and operations of the network. Raises UserError where it can't be had, or is over its budget."""
    network, example = _network(word)
    if not isinstance(network, torch.nn.Module):
        raise UserError(
            f"--measure {word} returns no network (a torch.nn.Module) in front: let it return (network, example input)."
        )
    inputs = example if isinstance(example, tuple) else (example,)
    if wrong := [type(each).__name__ for each in inputs if not isinstance(each, torch.Tensor)]:
        raise UserError(
            f"--measure {word} returns {wrong[0]} as example input: let it be a tensor, or a tuple of tensors."
        )
    try:
        if most:
            check_budget(network, most)
        params, frozen = count_parameters(network)
        found = describe(network, inputs=inputs, fvcore=False)
    except UserError:
        raise
    except Exception as error:  # whatever a network of the user's own raises
        traceback.print_exc()
        why = f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0][:300]
        raise UserError(
            f"--measure {word}: the network can't be counted with its example input ({why}): let it return an input that the network takes, a "
            "batch of one."
        ) from error
    sizes = {"params": params, "frozen_params": frozen, "macs": found.macs, "ops": found.ops.total}
    return {**sizes, "torch": str(torch.__version__)}


def _network(word: str) -> tuple[Any, Any]:
    module, _, function = word.partition(":")
    sys.path.insert(0, "")
    try:
        network, example = getattr(importlib.import_module(module), function)()
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(
            f"--measure {word} failed ({why}): it takes a function without arguments that returns (network, example input)."
        ) from error
    return network, example


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
