"""A run's TensorBoard files: scalars, images, histograms, the graph of its networks, and its line on the HParams page."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganhpc.core.errors import StorageFault
from ganhpc.core.files import read_json
from ganhpc.runs import tensorboard_hparams
from ganhpc.runs.definition_fields import options_of
from ganhpc.runs.run_folder import Run
from ganhpc.train.logging import event_file_trim

_UNDRAWN = ("epoch", "step")
"""Figures that are the horizontal axis already."""
_OF_THE_END = (tensorboard_hparams.SESSION_END, "final/", "confusion")
"""Tags that a run has when it is over: one that goes on is not."""
_PICTURES = 64
"""Pictures of one image, at most."""


class TensorBoardWriter:
    """The event files in tb/. Each tag has one point a step, in the order of steps, however often the run was killed."""

    def __init__(self, run: Run, step: int | None, evaluated: int = -1) -> None:
        """`step`: that of the checkpoint a resumed run goes on from, None where it begins; `evaluated`: that of the last evaluation
        which the checkpoint knows. An error of the file system is a warning."""
        # TensorBoard takes a second to import, and only rank 0 of a real run needs it.
        from ganhpc.train.logging.event_writer import Summaries

        self._last: dict[str, int] = {}
        try:
            self._cut(run, step, evaluated)
            # The marker is for a TensorBoard that is open and has read what was just cut off.
            self._writer = Summaries(
                event_file_trim.named_plainly(run.tensorboard), None if step is None else step + 1, _say
            )
        except (OSError, StorageFault) as error:
            # Older points may stand there twice now; the next start cuts them.
            _say(f"warning: TensorBoard's older curves can't be brought in order ({error}). The training goes on.")
            self._writer = Summaries(str(run.tensorboard), None if step is None else step + 1, _say)
        if step is None:
            self._add(tensorboard_hparams.session_start(options_of(read_json(run.experiment_json) or {})), 0)

    def _cut(self, run: Run, step: int | None, evaluated: int) -> None:
        """Take back what the checkpoint does not know, and how the segment before ended."""

        def keep(event: Any) -> bool:
            tags = [value.tag for value in event.summary.value]
            if step is None or event.step > step or any(tag.startswith(_OF_THE_END) for tag in tags):
                return False
            if event.step > evaluated and any(tag.startswith("epoch/") for tag in tags):
                return False
            self._last |= dict.fromkeys(tags, event.step)
            return True

        event_file_trim.cut(run.tensorboard, keep)

    def scalars(self, kind: str, step: int, figures: Mapping[str, Any]) -> None:
        """Add the numbers in `figures` as kind/name."""
        for name, value in figures.items():
            drawn = isinstance(value, int | float) and not isinstance(value, bool) and name not in _UNDRAWN
            if drawn and self._is_new(f"{kind}/{name}", step):
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def images(self, name: str, step: int, images: Tensor) -> None:
        """Show `images` (float [N, C, H, W] in [0, 1]) as a grid."""
        if self._is_new(name, step):
            self._writer.add_images(name, images.detach().float().cpu()[:_PICTURES], step)

    def histogram(self, name: str, step: int, values: Tensor, bins: int = 64) -> None:
        """Add the distribution of the finite ones of `values` (any shape, any device)."""
        flat = values.detach().reshape(-1).float()
        flat = flat[flat.isfinite()]
        if not flat.numel() or not self._is_new(name, step):
            return
        low, high = (float(v) for v in torch.aminmax(flat))
        if high <= low:  # All values are the same, for which there are no bins.
            high = low + max(abs(low), 1.0) * 1e-3
        counts = torch.histc(flat, bins, low, high).cpu()
        width = (high - low) / bins
        limits = [low + width * (k + 1) for k in range(bins)]
        wide = flat.double()
        self._writer.add_histogram_raw(
            name,
            min=low,
            max=high,
            num=flat.numel(),
            sum=float(wide.sum()),
            sum_squares=float(wide.square().sum()),
            bucket_limits=limits,
            bucket_counts=counts.tolist(),
            global_step=step,
        )

    def graph(self, modules: Mapping[str, nn.Module], inputs: Callable[[str], tuple[Tensor, ...]]) -> None:
        """Draw the networks, side by side in one graph, as one image of the data goes through them. Touches neither their state nor
        that of the random numbers. Raises whatever a network raises that can't be traced."""
        networks = _Networks({name: copy.deepcopy(module).cpu().eval() for name, module in modules.items()})
        examples = [tuple(value.detach().cpu() for value in inputs(name)) for name in modules]
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._writer.add_graph(networks, (examples,))

    def end(self, how: tensorboard_hparams.End) -> None:
        """Say on the HParams page how the run ended."""
        self._add(tensorboard_hparams.session_end(how), 0)

    def flush(self) -> None:
        """Have all events in the file: after a kill, they are what a checkpoint goes on from."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()

    def _add(self, summary: Any, step: int) -> None:
        self._writer._get_file_writer().add_summary(
            summary, step
        )  # There is no public way for a summary made elsewhere.

    def _is_new(self, tag: str, step: int) -> bool:
        """True if `tag` has no point at `step` yet, nor behind it."""
        if step <= self._last.get(tag, -1):
            return False
        self._last[tag] = step
        return True


def _say(line: str) -> None:
    print(line, flush=True)


class _Networks(nn.Module):
    """Several networks as one, each with inputs of its own."""

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        super().__init__()
        self._names = list(networks)
        for name, network in networks.items():
            self.add_module(name, network)

    def forward(self, examples: list[tuple[Tensor, ...]]) -> tuple[Any, ...]:
        return tuple(getattr(self, name)(*given) for name, given in zip(self._names, examples, strict=True))
