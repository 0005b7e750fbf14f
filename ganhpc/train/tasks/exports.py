"""Networks that are used by themselves after training: <name>.json when training begins, <name>.safetensors at its end."""

from __future__ import annotations

import json
from typing import Any

from safetensors.torch import save as to_safetensors
from torch import nn

from ganhpc import __version__
from ganhpc.core.files import atomic_open, write_json
from ganhpc.runs.run_folder import Run
from ganhpc.train.tasks.task import Task


def announce(run: Run, task: Task) -> None:
    """Write how each is built, so that a checkpoint's weights are of use before the run ends."""
    for name, export in task.exports().items():
        path = run.export(name).with_suffix(".json")
        if not path.exists():
            write_json(path, export.definition)


def write(run: Run, task: Task) -> None:
    """Write the weights of each."""
    for name, export in task.exports().items():
        write_one(run, name, export.definition, export.module)


def write_one(run: Run, name: str, definition: dict[str, Any], module: nn.Module) -> None:
    """Write one file of weights, with the definition in it: it needs nothing else."""
    weights = {key: value.detach().cpu().contiguous().clone() for key, value in module.state_dict().items()}
    metadata = {"ganhpc": __version__, "definition": json.dumps(definition)}
    with atomic_open(run.export(name)) as file:
        file.write(to_safetensors(weights, metadata=metadata))
