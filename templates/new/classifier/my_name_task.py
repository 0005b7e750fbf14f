"""The task of my-name: the loss, the update and the evaluation. `ganhpc.train.tasks.task.Task` says what each function is for."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from ganhpc.runs.experiment import Experiment
from ganhpc.train.data.batch_loader import BatchLoader
from ganhpc.train.optim import lr_schedules
from ganhpc.train.tasks.task import Context, Task

from .my_name_nets import MyNameNet


class MyName(Task):
    """Cross-entropy on labelled images, SGD, a learning rate that falls linearly to zero at the end of the budget."""

    headline = "test_accuracy"
    compilable = True

    def __init__(self, experiment: Any, context: Context, net: nn.Module) -> None:
        self.experiment, self.context = experiment, context
        data = context.data
        self.modules = {"net": net.to(context.device).to(memory_format=torch.channels_last)}
        self.optimizers = {"net": SGD(self.modules["net"].parameters(), experiment.lr, experiment.momentum)}
        assert data.labels is not None and data.test_labels is not None, "a classifier needs labels"
        self.loader = self._loader(data.images, data.labels, flip=experiment.flip)
        self.test = self._loader(data.test_images, data.test_labels)
        self.batch_size, self.steps_per_epoch = experiment.batch_size, self.loader.steps_per_epoch
        self._factor = lr_schedules.make("linear")

    def _loader(self, images: Tensor, labels: Tensor, **augmentation: Any) -> BatchLoader:
        group, channels = self.context.process_group, self.context.data.shape[0]
        return BatchLoader(
            images,
            labels,
            batch_size=self.experiment.batch_size,
            seed=self.experiment.seed,
            device=group.device,
            mean=(0.5,) * channels,
            std=(0.25,) * channels,
            rank=group.rank,
            world_size=group.world_size,
            **augmentation,
        )

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        images, labels = self.loader.batch(epoch, step)
        assert labels is not None
        return images, labels

    def schedule(self, progress: float) -> dict[str, float]:
        lr = self.experiment.lr * self._factor(progress)
        for group in self.optimizers["net"].param_groups:
            group["lr"] = lr
        return {"lr": lr}

    def train_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images, labels = batch
        net = self.wrapped["net"]
        net.train()
        with self.context.phase("forward"), self.context.autocast(self.experiment.precision):
            loss = F.cross_entropy(net(images).float(), labels)
        with self.context.phase("backward"):
            self.optimizers["net"].zero_grad(set_to_none=True)
            loss.backward()
        with self.context.phase("optimizer"):
            self.optimizers["net"].step()
        return {"loss": loss.detach()}

    @torch.no_grad()
    def evaluate(self, *, final: bool = False) -> dict[str, Any]:
        """test_accuracy in [0, 1] and test_loss; at the end the accuracy of each class and the confusion matrix, for the report."""
        net, classes = self.modules["net"].eval(), self.context.data.classes
        sums = torch.zeros(2, dtype=torch.float64, device=self.context.device)
        confusion = torch.zeros(len(classes) ** 2, dtype=torch.float64, device=self.context.device)
        for images, labels in self.test.evaluation_batches():
            assert labels is not None
            scores = net(images).float()
            guesses = scores.argmax(1)
            sums[0] += (guesses == labels).sum()
            sums[1] += F.cross_entropy(scores, labels, reduction="sum")
            confusion += torch.bincount(labels * len(classes) + guesses, minlength=len(confusion))
        # Each rank has seen its share of the images.
        self.context.process_group.sum(sums)
        self.context.process_group.sum(confusion)
        accuracy, loss = (float(value) / len(self.context.data.test_images) for value in sums)
        figures: dict[str, Any] = {"test_accuracy": accuracy, "test_loss": loss}
        if final:
            matrix = confusion.view(len(classes), -1).long()
            shares = (matrix.diagonal() / matrix.sum(1).clamp(min=1)).tolist()
            figures |= {"classes": list(classes), "confusion": matrix.tolist()}
            figures["accuracy_by_class"] = dict(zip(classes, shares, strict=True))
        return figures

    def example_inputs(self, name: str) -> tuple[Tensor, ...]:
        del name
        return (torch.zeros(1, *self.context.data.shape, device=self.context.device),)


def networks(
    experiment: Any, shape: tuple[int, int, int], classes: int, choices: dict[str, Any] | None = None
) -> dict[str, nn.Module]:
    """The network of `experiment` for images of `shape` (channels, height, width), untrained."""
    del choices
    return {"net": MyNameNet(channels=shape[0], classes=classes, width=experiment.width, layers=experiment.layers)}


def build(experiment: Experiment, context: Context) -> Task:
    """The task, its network drawn from the seed."""
    torch.manual_seed(experiment.seed)
    nets = networks(experiment, context.data.shape, len(context.data.classes))
    return MyName(experiment, context, nets["net"])
