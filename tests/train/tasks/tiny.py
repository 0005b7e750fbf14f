"""GANs so small that a step takes milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ganhpc.datasets.data_path import FIRST, data_fields
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.known_experiments import find
from ganhpc.runs.run_folder import Run
from ganhpc.train.data import registry
from ganhpc.train.loop.build import request_of
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks import task as base

SIZES: dict[str, dict[str, Any]] = {
    "dcgan": {"base_channels": 4, "batch_size": 16, "lr": 1e-3, "lr_d": 5e-4},
    "began": {"base_channels": 8, "batch_size": 16, "lr": 1e-3},
    "wgan-gp": {"base_channels": 4, "depth": 2, "batch_size": 8, "lr": 1e-3},
    "cyclegan": {
        "base_channels": 4, "blocks": 1, "patch_layers": 1, "batch_size": 8, "lr": 1e-3, "sample_columns": 1, "distance_images": 0,
    },
    "biggan": {
        "base_channels": 2, "batch_size": 8, "lr": 1e-3, "critic_steps": 2, "image_size": 32, "latent_dim": 8, "data": "synthetic",
        "distance_images": 0, "ema_start": 2, "standing": 2,
    },
    "sdpc": {"atoms": (6, 8), "batch_size": 16},
    "sdpc-began": {"atoms": (6, 8), "base_channels": 4, "batch_size": 16, "lr": 1e-3, "distance_images": 0},
    "sdpc-gan": {"atoms": (6, 8), "base_channels": 4, "batch_size": 16, "lr": 1e-3, "distance_images": 0},
}  # fmt: skip
VARIANTS = {
    "dcgan": ("dcgan", {}),
    "tutorial": ("dcgan", {"net": "tutorial", "real_label": (1.0, 1.0)}),
    "began": ("began", {}),
    "abegan": ("began", {"net": "abegan", "activation": "relu", "k_range": (0.005, 0.995)}),
    "sabegan": ("began", {"net": "sabegan"}),
    "wgan-gp": ("wgan-gp", {}),
    # Its choices jump: at rates like those of the others, a difference in the last digit is tenfold after each step.
    "strips": ("wgan-gp", {"generator": "strips", "lr": 2e-5}),
}
"""Name of a test's case: (experiment, options)."""
TRANSLATORS = {"cyclegan": ("cyclegan", {})}
"""The same, of those without latent vectors."""
CONDITIONAL = {
    "biggan": ("biggan", {}),
    "biggan-shared": ("biggan", {"shared": 4, "hierarchical": True, "init": "ortho", "ortho": 1e-4}),
}
"""The same, of those with classes."""
CODING = {
    "sdpc": ("sdpc", {}),
    "sdpc-gan": ("sdpc-gan", {}),
    "adversarial": ("sdpc-gan", {"dictionary": "adversarial"}),
    "sdpc-began": ("sdpc-began", {}),
}
"""The same, of those with sparse codes."""


def tiny(case: str, **values: Any) -> Experiment:
    """The definition of a case: 16x16 pixels, 80 images of lines, two epochs."""
    name, options = (VARIANTS | TRANSLATORS | CONDITIONAL | CODING)[case]
    common = {
        "time": None, "epochs": 2, "device": "cpu", "train_images": 80, "image_size": 16, "latent_dim": 6, "sample_rows": 2,
        "sample_columns": 3, "measure_images": 20,
    }  # fmt: skip
    absent = (
        ("latent_dim", "measure_images") if case in TRANSLATORS else ("measure_images",) if case in CONDITIONAL else ()
    )
    if name == "sdpc":
        absent = ("latent_dim", "measure_images", "sample_rows", "sample_columns")
    common = {key: value for key, value in common.items() if key not in absent}
    return find(name).from_preset("default").replace(**{**common, **SIZES[name], **options, **values})


def made(tmp_path: Path, case: str, **values: Any) -> Run:
    """A run folder of the case."""
    return Run.open(tmp_path / "runs", tiny(case, **values))


def task_of(experiment: Experiment, process_group: Distributed | None = None) -> Any:
    """The task of a definition, ready for steps, without the loop."""
    process_group = process_group or Distributed.start("cpu")
    images = {name: registry.load(request_of(experiment, name)) for name in data_fields(experiment.definition)}
    context = base.Context(data=images.pop(FIRST), more=images, process_group=process_group)
    task = base.module(experiment.TASK).build(experiment, context)
    assert isinstance(task, base.Task)
    task.wrap(process_group.wrap)
    return task


def steps(task: Any, number: int) -> list[dict[str, float]]:
    """Make so many steps from the first; returns their figures."""
    made = []
    for step in range(number):
        epoch, index = divmod(step, task.steps_per_epoch)
        task.schedule(0.0)
        made.append({name: float(value) for name, value in task.train_step(task.batch(epoch, index)).items()})
    return made


def weights(task: Any) -> dict[str, torch.Tensor]:
    """Copies of all weights and buffers by name."""
    return {name: value.detach().clone() for name, value in task.weights().items()}
