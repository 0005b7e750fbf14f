"""The operations of one whole training step of a definition, ours and fvcore's, without data and without computing anything.

The task's own step runs on tensors that have shapes and no values (torch's FakeTensorMode), so that counting takes seconds at any size.
fvcore itself follows forward passes only. Its rules are asked here about every operator that the step executes, losses, gradients and
gradients of gradients included; where it has none for a convolution's gradient, that counts as one convolution of the same size for
each of the two, inputs and weights, that are asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

from ganhpc.datasets.data_path import FIRST, data_fields
from ganhpc.datasets.types import ImageData
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.network_description import Operations
from ganhpc.train.flops import Call, CountingMode
from ganhpc.train.flops.counters import undisturbed
from ganhpc.train.flops.fvcore_check import PAIRED
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.tasks.task import Context, Task, module_of

_LEAVES_OUT = (
    "fvcore has rules for forward passes only; a convolution's gradient is charged as one convolution of the same size for the inputs "
    "and one for the weights, as far as each is asked for.",
    "Without a rule of fvcore's, and left out of its figure: losses, activations and their gradients, the optimizer.",
)


def training_step(experiment: Experiment, shape: tuple[int, int, int], classes: int) -> dict[str, Any]:
    """Count one step, such as all but the first are, of `experiment` on images of `shape` (channels, height, width), in single precision.

    Returns:
        `images`: training images that the step sees; `ops` (add, mul, max, other, total), `macs` and `uncounted` as in
        `counters.training_step_ops`; `fvcore`: its `total`, `macs`, `by_operator`, `unsupported` and what it `leaves_out`. All for the
        whole step, not for one image.
    """
    task = _task(experiment, shape, classes)
    counter = _Counter()
    with undisturbed(), FakeTensorMode(allow_non_fake_inputs=True) as fakes:
        _without_values(task, fakes)
        batch = tree_map_only(Tensor, fakes.from_tensor, task.batch(0, 0))
        # As all steps but the first: its optimizer has no momentum yet, and computes less.
        task.train_step(batch)
        with counter:
            task.train_step(batch)
    by_operator = dict(counter.fvcore)
    return {
        "images": task.batch_size,
        "ops": counter.ops.to_json(),
        "macs": counter.ops.macs,
        "uncounted": dict(sorted(counter.uncounted.items())),
        "fvcore": {
            "total": sum(by_operator.values()),
            "macs": sum(n for name, n in by_operator.items() if name in PAIRED),
            "by_operator": by_operator,
            "unsupported": dict(sorted(counter.unsupported.items())),
            "leaves_out": list(_LEAVES_OUT),
        },
    }


def _task(experiment: Experiment, shape: tuple[int, int, int], classes: int) -> Task:
    """The task on made images, as many as a step needs: the values play no part."""
    experiment = experiment.replace(precision="fp32", compile="off")
    n = experiment.batch_size * int(getattr(experiment, "critic_steps", 1))
    images = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(n) % classes if classes else None
    data = ImageData(
        experiment.data,
        images,
        labels,
        images[:2],
        None if labels is None else labels[:2],
        tuple(map(str, range(classes))),
    )
    more = {field: data for field in data_fields(experiment.definition) if field != FIRST}
    context = Context(data, Distributed(0, 1, torch.device("cpu")), say=lambda line: None, more=more)  # noqa: ARG005
    task = module_of(experiment).build(experiment, context)
    task.wrap(lambda net: net)
    return task


def _without_values(task: Task, fakes: FakeTensorMode) -> None:
    """Give the networks and optimizers of `task` tensors of the same shapes that hold nothing."""
    made: dict[int, nn.Parameter] = {}
    for part in nn.ModuleDict(task.modules).modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                fake = nn.Parameter(fakes.from_tensor(parameter.detach()), requires_grad=parameter.requires_grad)
                part._parameters[name] = made.setdefault(id(parameter), fake)
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else fakes.from_tensor(buffer)
    for optimizer in task.optimizers.values():
        for group in optimizer.param_groups:
            group["params"] = [made[id(parameter)] for parameter in group["params"]]


class _Counter(CountingMode):
    """Both counts of what is executed while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.ops = Operations()
        self.uncounted: Counter[str] = Counter()
        self.fvcore: Counter[str] = Counter()
        self.unsupported: Counter[str] = Counter()
        self._rules = _fvcore_rules()

    def seen(self, call: Call, ops: Operations | None) -> None:
        if ops is None:
            self.uncounted[call.operator] += 1
            return
        self.ops += ops
        found = self._of_fvcore(call)
        if found is not None:
            self.fvcore.update(found)
        elif ops.total:
            self.unsupported[call.operator] += 1

    def _of_fvcore(self, call: Call) -> dict[str, int] | None:
        if call.operator in ("convolution", "convolution_backward"):
            return {"conv": _convolution(call)}
        rule = self._rules.get(call.operator)
        if rule is None:
            return None
        outputs = call.out if isinstance(call.out, list | tuple) else [call.out]
        found = rule([_Value(value) for value in call.in_order], [_Value(value) for value in outputs])
        return (
            {name: int(n) for name, n in found.items()}
            if isinstance(found, Counter)
            else {_NAMES[call.operator]: int(found)}
        )


class _Value:
    """An argument of an executed operator, as fvcore's rules look at one of a traced graph."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def isCompleteTensor(self) -> bool:
        return isinstance(self._value, Tensor)

    def type(self) -> _Value:
        return self

    def sizes(self) -> list[int]:
        return list(self._value.shape)

    def toIValue(self) -> Any:
        return self._value


_Rule = Callable[[Sequence[Any], Sequence[Any]], Any]
_NAMES = {
    "addmm": "linear",
    "mm": "matmul",
    "bmm": "bmm",
    "native_batch_norm": "batch_norm",
    "upsample_nearest2d": "upsample_nearest2d",
    "_adaptive_avg_pool2d": "adaptive_avg_pool2d",
    "native_layer_norm": "layer_norm",
}
"""Executed operators that fvcore has a rule for, under the name of the rule."""


def _fvcore_rules() -> dict[str, _Rule]:
    """fvcore's rules for the operators that a step executes; the traced operators have other names, and the same arguments in front."""
    from fvcore.nn import jit_handles as rules

    return {
        "addmm": rules.addmm_flop_jit,
        "mm": rules.matmul_flop_jit,
        "bmm": rules.bmm_flop_jit,
        "native_batch_norm": rules.batchnorm_flop_jit,
        "upsample_nearest2d": rules.elementwise_flop_counter(0, 1),
        "_adaptive_avg_pool2d": rules.elementwise_flop_counter(1, 0),
        "native_layer_norm": rules.norm_flop_counter(2),
    }


def _convolution(call: Call) -> int:
    """fvcore's count of a convolution, or of its gradients by the inputs and the weights."""
    from fvcore.nn.jit_handles import conv_flop_count

    backward = call.operator == "convolution_backward"
    result = call["grad_output"] if backward else call.first
    once = conv_flop_count(
        *(list(x.shape) for x in (call["input"], call["weight"], result)), transposed=call["transposed"]
    )
    return int(once) * (sum(call["output_mask"][:2]) if backward else 1)
