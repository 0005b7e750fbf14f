"""The program of my-name, a plain PyTorch loop: it saves, goes on from what it finds, and says its figures. It also runs by itself."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn


def network(width: int) -> nn.Module:
    """Points [N, 2] -> values [N, 1]."""
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))


def measured() -> tuple[nn.Module, Tensor]:
    """The network and an example input: its parameters and operations are counted before the first step."""
    return network(32), torch.zeros(1, 2)


def train(
    out: Path, *, steps: int, width: int, lr: float, seed: int, stop: Callable[[], bool] = lambda: False
) -> float | None:
    """The last loss; None where it was stopped before its end, with all of it saved in `out`."""
    torch.manual_seed(seed)
    net = network(width)
    optimizer = torch.optim.Adam(net.parameters(), lr)
    first, newest = 0, out / "newest.pt"
    if newest.exists():
        saved = torch.load(newest, weights_only=True)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    loss = torch.zeros(())
    for step in range(first, steps):
        # The data of a step hang on the seed and the step alone, so that a training that goes on sees what one in a piece would.
        points = torch.randn(64, 2, generator=torch.Generator().manual_seed(seed * 10**6 + step))
        loss = (net(points) - points.prod(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        over = step + 1 == steps
        if over or stop() or (step + 1) % 1000 == 0:
            state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, out / "newest.pt.new")
            os.replace(out / "newest.pt.new", newest)  # a kill at any moment leaves a whole file
        if over or (step + 1) % 100 == 0:
            say(step=step + 1, loss=loss.item())
        if stop() and not over:
            return None
    return loss.item()


def say(**figures: float) -> None:
    """Add a line to the figures of the run, for `status`, `results` and reports; nothing without the launcher."""
    if path := os.environ.get("GANHPC_FIGURES"):
        with open(path, "a") as file:
            file.write(json.dumps(figures) + "\n")


def main() -> int:
    """Train as the arguments say; 0 at the end, 75 where there is more to do."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    loss = train(
        words.out, steps=words.steps, width=words.width, lr=words.lr, seed=words.seed, stop=lambda: bool(asked)
    )
    print("stopped: saved" if loss is None else f"loss {loss:.4f}", flush=True)
    return 75 if loss is None else 0


if __name__ == "__main__":
    sys.exit(main())
