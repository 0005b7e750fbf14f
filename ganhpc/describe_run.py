"""`python -m ganhpc.describe_run RUN_FOLDER`: the networks of a run as JSON, built anew from its definition, untrained, without data.

For runs that ended before they wrote description.json; a process of its own, so that who asks need not load torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ganhpc.errors import UserError
from ganhpc.printable import say_error


def describe_run(folder: Path) -> dict[str, Any]:
    """{"networks": {name: description}}, as description.json has it. Raises UserError where this version can't build them."""
    import torch

    from ganhpc.describe import describe
    from ganhpc.describe_experiment import input_shape, shape_and_classes
    from ganhpc.fields import read_choices
    from ganhpc.run import Run
    from ganhpc.tasks.base import module

    run = Run(folder)
    experiment = run.experiment()
    choices = read_choices(run.choices_json, type(experiment))
    shape, classes = shape_and_classes(experiment)
    torch.manual_seed(experiment.seed)
    networks = module(experiment.TASK).networks(experiment, shape, classes, choices)
    described = {name: describe(net, input_shape(net, shape), fvcore=False) for name, net in networks.items()}
    return {"networks": {name: each.to_json() for name, each in described.items()}}


def main(argv: list[str]) -> int:
    """Print the description of the run in the folder that `argv` names. Returns the exit code."""
    try:
        print(json.dumps(describe_run(Path(argv[0]))))
    except UserError as error:
        say_error(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
