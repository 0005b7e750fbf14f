"""Run folders made without training, for tests of what only reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ganhpc.core.files import write_json
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar

FIGURES = {
    "test_accuracy_no_tta": 0.5, "test_loss": 1.25, "params": 62_006, "frozen_params": 0, "macs": 651_720, "ops": 1_314_676,
    "gflops_per_second": 3.2566958, "forward_gflops_per_second": 1.3221982, "train_seconds": 297.5, "budget_seconds": 300.0,
    "epochs": 12.0, "epochs_planned": 12.0, "batch_size": 20, "images_per_second": 1005.7, "segments": 2,
    "seconds_by_phase": {"data": 3.0, "forward": 88.0, "backward": 150.0, "optimizer": 20.0, "evaluation": 30.0, "checkpoint": 2.0},
    "device": "AMD EPYC, 2 cores", "torch": "2.14.0", "python": "3.11.2", "ganhpc": "0.1.0", "commit": "f32e181", "tta": "flip",
}  # fmt: skip
"""What a finished run of the tutorial's network could have."""


def done(
    runs: Path,
    accuracy: float,
    *,
    figures: dict[str, Any] | None = None,
    new: bool = False,
    preset: str = "default",
    **fields: Any,
) -> Run:
    """A finished run of `preset` with these options and this accuracy; `figures` go over FIGURES."""
    definition = Cifar.from_preset(preset).replace(**fields)
    run = Run.open(runs, definition, new=new)
    names = {
        "experiment": "cifar",
        "variant": definition.variant,
        "run": run.name,
        "state": "done",
        "preset": definition.preset,
    }
    ids = {"seed": definition.seed, "group": definition.group, "weights_sha256": f"{accuracy}-{definition.seed}"}
    write_json(
        run.result_json, {**names, **ids, **FIGURES, "test_accuracy": accuracy, **(figures or {})}, durable=False
    )
    return run


def stopped(runs: Path, state: str, reason: str = "", **fields: Any) -> Run:
    """A run whose trainer last said that it is in `state`, half of the way."""
    run = Run.open(runs, Cifar.from_preset("default").replace(**fields))
    last = {"epoch": 6.0, "test_accuracy": 0.25, "lr": 1e-9}
    run_status = {
        "seconds": 150.0,
        "epoch": 6.0,
        "epochs_planned": 12.0,
        "images_per_second": 1000.0,
        "headline": "test_accuracy",
    }
    write_json(run.status_json, {"state": state, "reason": reason, **run_status, "last": last}, durable=False)
    return run
