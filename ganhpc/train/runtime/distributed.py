"""One process or many: the process group, wrapping for DDP, and the few words that ranks exchange."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ganhpc.core.errors import UserError
from ganhpc.runs import cores
from ganhpc.runs.cores import Threads


@dataclass(frozen=True)
class Distributed:
    """This process in its process group. Made by torchrun's environment variables; without them there is one process."""

    rank: int
    world_size: int
    device: torch.device
    threads: Threads | None = None
    """Threads of this process on the CPU; None: torch's own number."""

    @staticmethod
    def start(device: str, threads: Threads | None = None) -> Distributed:
        """Join the process group. `device` is auto, cpu or cuda; `threads` as `cores.settle` found them (None: it is asked here).

        Raises UserError where cuda is asked for and there is none.
        """
        rank, world, local = (int(os.environ.get(key, default)) for key, default in _TORCHRUN)
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError(
                "--device cuda: this machine shows no GPU to torch; type --device cpu, or look at `launch.py doctor`."
            )
        chosen = torch.device("cpu")
        if device != "cpu" and torch.cuda.is_available():
            chosen = torch.device("cuda", local % torch.cuda.device_count())
            torch.cuda.set_device(chosen)
        if world > 1:
            # One group serves both: NCCL where tensors lie on GPUs, gloo for the control words, which lie on the CPU.
            backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=timedelta(minutes=10))
        threads = threads or cores.settle(None)
        torch.set_num_threads(threads.now)
        return Distributed(rank, world, chosen, threads)

    @property
    def is_main(self) -> bool:
        """True if this process writes the files and speaks."""
        return self.rank == 0

    def close(self) -> None:
        """Leave the process group."""
        if self.world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def wrap(self, module: nn.Module) -> nn.Module:
        """`module` with gradients averaged over the ranks. Training steps call the wrapped module only."""
        if self.world_size == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=ids)

    def agree(self, values: list[float]) -> list[float]:
        """The sum of every rank's `values`, the same on all."""
        if self.world_size == 1:
            return values
        words = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(words)
        return words.tolist()

    def sum(self, value: Tensor) -> Tensor:
        """`value` added up over the ranks (in place)."""
        if self.world_size > 1:
            dist.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """`value` averaged over the ranks (in place)."""
        return self.sum(value).div_(self.world_size) if self.world_size > 1 else value

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients of `parameters` by their means over the ranks, in one exchange.

        For steps that DistributedDataParallel does not take: several forward passes before one backward under batch normalisation,
        gradients of gradients, a network inside another.
        """
        if self.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.mean(torch.cat([g.reshape(-1) for g in gradients]))
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def share_weights(self, modules: Iterable[nn.Module]) -> None:
        """Give every rank the parameters and buffers of rank 0."""
        if self.world_size > 1:
            for module in modules:
                for value in (*module.parameters(), *module.buffers()):
                    sent = value.contiguous()  # filters may lie in channels-last order
                    dist.broadcast(sent, src=0)
                    value.copy_(sent)

    def share_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Give every rank the buffers (BatchNorm's running figures) of rank 0, as the checkpoint has them."""
        if self.world_size > 1:
            for module in modules:
                for buffer in module.buffers():
                    dist.broadcast(buffer, src=0)

    def gather_bytes(self, value: Tensor) -> list[Tensor]:
        """Every rank's `value` (uint8 [n] on the CPU, the same n on all), in the order of ranks."""
        if self.world_size == 1:
            return [value]
        out = [torch.empty_like(value) for _ in range(self.world_size)]
        dist.all_gather(out, value)
        return out

    def barrier(self) -> None:
        """Wait for every rank."""
        self.agree([0.0])


_TORCHRUN = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
