"""The outcome of a finished run: result.json (small, one row of a table), evaluation.json and the final weights."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from ganhpc import __version__
from ganhpc.core.errors import UserError
from ganhpc.core.files import atomic_open, write_json
from ganhpc.runs import result_fields
from ganhpc.runs.network_description import Description
from ganhpc.runs.run_folder import Run
from ganhpc.train.describe.describe_module import describe
from ganhpc.train.flops import peak_flops
from ganhpc.train.flops.counters import count_parameters, training_step_ops
from ganhpc.train.logging import run_animation
from ganhpc.train.loop import stages
from ganhpc.train.loop.trainer import Trainer
from ganhpc.train.runtime import checkpoint, cuda_graph
from ganhpc.train.runtime.long_phase import shown_while_long
from ganhpc.train.tasks import exports
from ganhpc.train.tasks.task import SPEED, Task, precision_of


def write_outcome(run: Run, trainer: Trainer, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Write the final weights, evaluation.json and, last, result.json, whose existence means done.

    Every rank calls it, since the step that is counted needs them all; rank 0 writes.
    """
    if trainer.process_group.is_main:
        with shown_while_long("export of the trained networks", trainer.say):
            exports.write(run, trainer.task)
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in trainer.task.weights().items()}
    described = {
        name: describe(module, inputs=trainer.task.example_inputs(name), fvcore=False)
        for name, module in trainer.task.results.items()
    }
    step_ops = _counted(trainer)
    peak_found = peak_flops.peak(trainer.process_group.device, _dtype(trainer)) if trainer.process_group.is_main else {}
    numbers = {key: value for key, value in figures.items() if isinstance(value, int | float | str)}
    rest = {key: value for key, value in figures.items() if key not in numbers}
    result = {
        **_identity(run, trainer),
        **_last_losses(trainer),
        **numbers,
        **_work(trainer, described, step_ops, peak_found),
        **_time(trainer),
        **_environment(trainer),
    }
    result["weights_sha256"] = checkpoint.weights_sha256(weights)
    if trainer.process_group.is_main:
        _write_weights(run, weights)
        write_json(run.evaluation_json, {**rest, "curve": trainer.progress.curve})
        networks = {name: each.to_json() for name, each in described.items()}
        write_json(run.description_json, {"networks": networks, "step": step_ops, "peak": peak_found})
        run_animation.make(run, trainer.say)
        write_json(run.result_json, result)
    return result


def _last_losses(trainer: Trainer) -> dict[str, float]:
    """The means of the last epoch's training figures (losses, BEGAN's k and M), as train_<name>."""
    points = [{k: v for k, v in point.items() if k.startswith("train_")} for point in trainer.progress.curve]
    return next((figures for figures in reversed(points) if figures), {})


def _write_weights(run: Run, weights: Mapping[str, Tensor]) -> None:
    with atomic_open(run.weights) as file:
        file.write(to_safetensors(dict(weights), metadata={"ganhpc": __version__}))


def _identity(run: Run, trainer: Trainer) -> dict[str, Any]:
    experiment = trainer.experiment
    return {
        **result_fields.identity(run, experiment),
        "data": experiment.data,
        "data_note": trainer.data_note,
        "headline": trainer.task.headline,
        "network": trainer.choices.get("network", ""),
        "why": trainer.choices.get("why", ""),
        "speed": trainer.choices.get(SPEED, {}).get("why", ""),
    }


def _work(
    trainer: Trainer, described: Mapping[str, Description], step_ops: Mapping[str, Any], peak_found: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters and operations: of one image forward, and of a whole training step a second; the most the devices can do."""
    ops = sum(d.ops.total for d in described.values())
    of_a_step = step_ops["ops"]["total"] if step_ops else None
    most = peak_found.get("gflops_per_second", 0.0) * trainer.process_group.world_size
    params, frozen = count_parameters(nn.ModuleDict(trainer.task.results))
    return {
        "params": params,
        "frozen_params": frozen,
        "budget_params": trainer.experiment.budget.budget_params,
        "macs": sum(d.macs for d in described.values()),
        "ops": ops,
        "step_ops": of_a_step,
        "epoch_ops": of_a_step and of_a_step * trainer.task.steps_per_epoch,
        "gflops_per_second": of_a_step and of_a_step * trainer.images_per_second / trainer.task.batch_size / 1e9,
        "forward_gflops_per_second": ops * trainer.images_per_second / 1e9,
        "peak_gflops_per_second": most or None,
        "peak_spread": peak_found.get("spread"),
    }


def _counted(trainer: Trainer) -> dict[str, Any]:
    """Result of `operations_of_a_step`, or nothing: an hour of training is not lost to an operator that can't be counted."""
    try:
        # As an ordinary step does them: a replay executes no operators, and rates in tensors take more of them.
        cuda_graph.settle(trainer.task.optimizers.values(), replayed=False)
        return operations_of_a_step(trainer.task, trainer.process_group.world_size)
    except UserError:
        raise
    except Exception as error:
        trainer.process_group.barrier()  # raises where this error is but the consequence of another process's end
        trainer.say(f"warning: the operations of a training step were not counted ({type(error).__name__}: {error})")
        return {}


def operations_of_a_step(task: Task, processes: int) -> dict[str, Any]:
    """Count by `training_step_ops` while this process makes one more training step, times the `processes`.

    Called after the final weights are copied: the step changes the networks.
    """
    batch = task.batch(0, 0)
    found = training_step_ops(lambda: task.train_step(batch))
    ops = {name: number * processes for name, number in found["ops"].items()}
    return {**found, "ops": ops, "macs": found["macs"] * processes}


def _dtype(trainer: Trainer) -> torch.dtype:
    """Arithmetic of the training step's products."""
    return torch.bfloat16 if _precision(trainer) == "bf16" else torch.float32


def _precision(trainer: Trainer) -> str:
    return precision_of(trainer.experiment.precision, trainer.process_group.device, trainer.choices)


def _time(trainer: Trainer) -> dict[str, Any]:
    done, clock = trainer.progress, trainer.clock
    return {
        "train_seconds": clock.used,
        "budget_seconds": trainer.plan.time,
        "budget_used": clock.used / trainer.plan.time if trainer.plan.time else None,
        "epochs": (done.step - done.stage_step) / trainer.task.steps_per_epoch,
        "epochs_planned": done.epochs_planned - done.stage_step / trainer.task.steps_per_epoch,
        "ended_by": done.ended_by,
        "steps": done.step - done.stage_step,
        "epoch_seconds": _epoch_seconds(trainer),
        **stages.outcome(done),
        "batch_size": trainer.task.batch_size,
        "images_per_second": trainer.images_per_second,
        "seconds_by_phase": clock.rounded_shares(),
        "segments": done.segments,
        "lost_seconds": done.lost_seconds,
        "startup_seconds": done.startup_seconds,
        "measure_seconds": trainer.measure_seconds,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _epoch_seconds(trainer: Trainer) -> float | None:
    """Seconds of the steps of one epoch in the last stage, on average."""
    done = trainer.progress
    steps, seconds = done.step - done.stage_step, done.step_seconds - done.stage_seconds
    return seconds / steps * trainer.task.steps_per_epoch if steps else None


def _environment(trainer: Trainer) -> dict[str, Any]:
    """The device, the versions and the commit that made a number."""
    device = trainer.process_group.device
    return {"processes": trainer.process_group.world_size, **environment_of(device, _precision(trainer))}


def environment_of(device: torch.device, precision: str) -> dict[str, Any]:
    """The same without a run, for arithmetic in `precision`."""
    return {
        "device": device_name(device),
        "device_type": device.type,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "ganhpc": __version__,
        "commit": commit(),
    }


def device_name(device: torch.device) -> str:
    """Name of the device: the GPU's name, or the processor's with the number of cores in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return result_fields.processor()


def commit() -> str:
    """The commit of the checkout that runs, with a plus where files differ from it; empty outside a checkout."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
