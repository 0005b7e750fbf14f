"""Classification of images: cross-entropy or a variant, one network, accuracy on the test images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganhpc.runs.experiment import Experiment
from ganhpc.train.data.batch_loader import BatchLoader
from ganhpc.train.nets.compact import CompactNet
from ganhpc.train.nets.recurrent import RecurrentNet
from ganhpc.train.optim import lr_schedules, optimizers
from ganhpc.train.runtime import cuda_graph
from ganhpc.train.tasks import distillation, network_choice, recipe, tta
from ganhpc.train.tasks.task import Context, Task


class Classifier(Task):
    """One network, trained on labelled images.

    The definition's fields that it reads: net and its options, loss, label_smoothing, optimizer and its options, lr, schedule,
    warmup, flip, crop, cutout, batch_size, test_batch_size, tta, precision, compile; teacher and its options.
    """

    headline = "test_accuracy"
    compilable = True

    def __init__(self, experiment: Any, context: Context, net: nn.Module) -> None:
        self.experiment, self.context = experiment, context
        data, process_group = context.data, context.process_group
        self.net = net.to(process_group.device).to(memory_format=torch.channels_last)
        self.modules = {"net": self.net}
        self._optimizers = {"net": optimizers.make(experiment, self.net)}
        self.stages = distillation.stages(experiment)
        if len(self.stages) > 1:
            self._add_teacher()
        self.replayable = experiment.optimizer in optimizers.REPLAYABLE
        self.batch_size = experiment.batch_size
        self.recipe = recipe.settled(experiment, context.choices)
        self.final_cost = float(tta.PASSES[self.recipe["tta"]])
        assert data.labels is not None and data.test_labels is not None, "a classifier needs labels"
        augmentation = {"flip": experiment.flip, "crop": self.recipe["crop"], "cutout": self.recipe["cutout"]}
        self.loader = self._loader(data.images, data.labels, experiment.batch_size, **augmentation)
        self.test = self._loader(data.test_images, data.test_labels, experiment.test_batch_size)
        for module in self.modules.values():
            if isinstance(module, CompactNet | RecurrentNet):
                module.initialize(self._first_images())
        self.steps_per_epoch = self.loader.steps_per_epoch
        self._factor = lr_schedules.make(experiment.schedule, experiment.warmup)
        self._highest = {
            id(o): [g["lr"] for g in o.param_groups] for made in self._optimizers.values() for o in made.values()
        }
        self.begin_stage(0)

    def _add_teacher(self) -> None:
        data = self.context.data
        net = distillation.network(self.experiment, data.shape, len(data.classes)).to(self.context.device)
        self.modules[distillation.NAME] = net.to(memory_format=torch.channels_last)
        self._optimizers[distillation.NAME] = optimizers.make(self.experiment, net)
        self.auxiliary = frozenset({distillation.NAME})

    def begin_stage(self, number: int) -> None:
        self.active = self.stages[number].name or "net"
        self.optimizers = self._optimizers[self.active]
        self.headline = "teacher_accuracy" if self.active == distillation.NAME else "test_accuracy"
        if self.active == "net" and self.auxiliary:
            self.modules[distillation.NAME].requires_grad_(False).eval()

    def _loader(self, images: Tensor, labels: Tensor, batch_size: int, **augmentation: Any) -> BatchLoader:
        process_group, experiment = self.context.process_group, self.experiment
        return BatchLoader(
            images,
            labels,
            batch_size=batch_size,
            seed=experiment.seed,
            device=process_group.device,
            mean=experiment.mean,
            std=experiment.std,
            rank=process_group.rank,
            world_size=process_group.world_size,
            **augmentation,
        )

    def _first_images(self, n: int = 2000) -> Tensor:
        """The first training images [n, C, H, W], normalised and not augmented."""
        images = self.context.data.images[:n].to(self.context.device).float() / 255
        mean, std = (
            torch.tensor(v, device=images.device).view(-1, 1, 1) for v in (self.experiment.mean, self.experiment.std)
        )
        return (images - mean) / std

    # -- training -------------------------------------------------------------------------------------------------------

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        images, labels = self.loader.batch(epoch, step)
        assert labels is not None
        return images, labels

    def schedule(self, progress: float) -> dict[str, float]:
        factor = self._factor(progress)
        for optimizer in self.optimizers.values():
            for group, highest in zip(optimizer.param_groups, self._highest[id(optimizer)], strict=True):
                cuda_graph.set_rate(group, highest * factor)
        return {"lr": self.experiment.lr * factor}

    def train_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images, labels = batch
        net = self.wrapped[self.active]
        net.train()
        with self.context.phase("forward"), self.context.autocast(self.experiment.precision):
            scores = net(images)
            loss = self._loss(scores.float(), labels)
            if self.auxiliary and self.active == "net":
                with torch.no_grad():
                    teachers = self.wrapped[distillation.NAME](images).float()
                options = self.experiment.distillation
                how = {"temperature": options.temperature, "weight": options.distil}
                loss = distillation.distilled(scores.float(), teachers, loss, **how)
        with self.context.phase("backward"):
            for optimizer in self.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
        with self.context.phase("optimizer"):
            for optimizer in self.optimizers.values():
                optimizer.step()
        return {"loss": loss.detach()}

    def _loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The loss that is trained: scores [B, classes], labels [B]."""
        if self.experiment.loss == "mse":
            return F.mse_loss(scores, F.one_hot(labels, scores.shape[1]).float())
        if self.experiment.loss == "multi_margin":
            return F.multi_margin_loss(scores, labels)
        return F.cross_entropy(scores, labels, label_smoothing=self.experiment.label_smoothing)

    # -- evaluation -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, *, final: bool = False) -> dict[str, Any]:
        """test_accuracy in [0, 1] and test_loss; the last one as the recipe evaluates (averaged over variants of each image: `tta`),
        with the accuracy without that beside it, per class, and the confusion matrix."""
        net, what = self.modules[self.active].eval(), self.headline.removesuffix("_accuracy")
        how = self.recipe["tta"] if final else "none"
        classes = max(len(self.context.data.classes), 1)
        sums = torch.zeros(3, dtype=torch.float64, device=self.context.device)
        confusion = torch.zeros(classes * classes, dtype=torch.float64, device=self.context.device)
        for images, labels in self.test.evaluation_batches():
            assert labels is not None
            with self.context.autocast(self.experiment.precision):
                plain, scores = tta.scores(net, images, how)
            guesses = scores.argmax(1)
            sums[0] += (guesses == labels).sum()
            sums[1] += (plain.argmax(1) == labels).sum()
            sums[2] += F.cross_entropy(scores, labels, reduction="sum")
            confusion += torch.bincount(labels * classes + guesses, minlength=classes * classes)
        self.context.process_group.sum(sums)
        n = len(self.context.data.test_images)
        accuracy, plain_accuracy, loss = (float(value) / n for value in sums)
        figures: dict[str, Any] = {f"{what}_accuracy": accuracy, f"{what}_loss": loss}
        if final:
            matrix = self.context.process_group.sum(confusion).view(classes, classes).long()
            figures |= {"test_accuracy_no_tta": plain_accuracy, "tta": self.recipe["tta"], **self._by_class(matrix)}
        return figures

    def _by_class(self, matrix: Tensor) -> dict[str, Any]:
        totals = matrix.sum(1).clamp(min=1)
        shares = (matrix.diagonal() / totals).tolist()
        return {
            "classes": list(self.context.data.classes),
            "accuracy_by_class": dict(zip(self.context.data.classes, shares, strict=True)),
            "confusion": matrix.tolist(),
        }

    def batch_pictures(self) -> Tensor:
        images = self.batch(0, 0)[0].float()
        mean, std = (
            torch.tensor(v, device=images.device).view(-1, 1, 1) for v in (self.experiment.mean, self.experiment.std)
        )
        return (images * std + mean).clamp(0, 1)

    def example_inputs(self, name: str) -> tuple[Tensor, ...]:
        del name
        return (torch.zeros(1, *self.context.data.shape, device=self.context.device),)


def networks(
    experiment: Any, shape: tuple[int, int, int], classes: int, choices: dict[str, Any] | None = None
) -> dict[str, nn.Module]:
    """The network of `experiment` for images of `shape` (channels, height, width), untrained."""
    return {"net": network_choice.make(experiment, shape, classes, {} if choices is None else choices)}


def build(experiment: Experiment, context: Context) -> Task:
    """The task, with a network chosen to fit the budgets where the definition says `auto`."""
    network_choice.settle(experiment, context)
    torch.manual_seed(experiment.seed)
    net = networks(experiment, context.data.shape, len(context.data.classes), context.choices)["net"]
    return Classifier(experiment, context, net)
