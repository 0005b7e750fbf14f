"""`python -m ganhpc.train.describe.measure_program MODULE:FUNCTION FILE MOST`: the size of the network of a user's program, as JSON.

The function returns (network, example input); it is named on the user's command line, and looked for in the folder of the program.
"""

from __future__ import annotations

import importlib
import sys
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
    if most:
        check_budget(network, most)
    params, frozen = count_parameters(network)
    found = describe(network, inputs=inputs, fvcore=False)
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
