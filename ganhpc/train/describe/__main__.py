"""`python -m ganhpc.train.describe RUN_FOLDER`: the networks of a run as JSON, built anew from its definition, untrained, without data.

For runs that ended before they wrote description.json; a process of its own, so that who asks need not load torch.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from ganhpc.core.errors import UserError
from ganhpc.core.printable import print_error
from ganhpc.runs.definition_fields import read_choices
from ganhpc.runs.run_folder import Run
from ganhpc.train.describe.describe_experiment import input_shape, shape_and_classes
from ganhpc.train.describe.describe_module import describe
from ganhpc.train.tasks.task import module_of


def _describe_run(folder: Path) -> dict[str, Any]:
    """{"networks": {name: description}}, as description.json has it. Raises UserError where this version can't build them."""
    run = Run(folder)
    experiment = run.experiment()
    choices = read_choices(run.choices_json, type(experiment))
    shape, classes = shape_and_classes(experiment)
    torch.manual_seed(experiment.seed)
    networks = module_of(experiment).networks(experiment, shape, classes, choices)
    described = {name: describe(net, input_shape(net, shape), fvcore=False) for name, net in networks.items()}
    return {"networks": {name: each.to_json() for name, each in described.items()}}


def _bound_memory() -> None:
    """Let this process take half of the machine's memory at most: a definition in somebody's folder may name any sizes, and what is asked for beyond
    that is an error instead of the end of other programs."""
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    soft, hard = (
        half if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_DATA)
    )
    resource.setrlimit(resource.RLIMIT_DATA, (min(soft, half), hard))


def main(argv: list[str]) -> int:
    """Print the description of the run in the folder that `argv` names. Returns the exit code."""
    _bound_memory()
    try:
        print(json.dumps(_describe_run(Path(argv[0]))))
    except UserError as error:
        print_error(error)
        return error.exit_code
    except (MemoryError, RuntimeError) as error:
        print_error(f"its networks can't be built here ({str(error).partition(chr(10))[0][:200]}).")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
