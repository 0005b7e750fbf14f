"""A plain PyTorch loop with a checkpoint of its own. It knows nothing of schedulers and hears no signal."""

import argparse
import time
from pathlib import Path

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--steps", type=int, default=100)
parser.add_argument("--pause", type=float, default=0.0)
args = parser.parse_args()

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
newest = args.out / "checkpoint.pt"
first = 0
if newest.exists():
    saved = torch.load(newest, weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    first = saved["step"]
print(f"from step {first}", flush=True)
for step in range(first, args.steps):
    inputs = torch.randn(32, 8, generator=torch.Generator().manual_seed(step))
    loss = ((model(inputs) - inputs.sum(1, keepdim=True)) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(args.pause)
    while (args.out / f"hold-{step}").exists():
        time.sleep(0.02)
    if (step + 1) % 10 == 0:
        torch.save(
            {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, f"{newest}.new"
        )
        Path(f"{newest}.new").replace(newest)
torch.save(model.state_dict(), args.out / "end.pt")
