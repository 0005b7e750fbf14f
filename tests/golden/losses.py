"""The mean training losses of two epochs from a fixed seed, which refactors keep: `python -m tests.golden.losses` writes them anew."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.helpers import finish, made

FILE = Path(__file__).with_suffix(".json")

CASES: dict[str, dict[str, Any]] = {
    "course": {},
    "compact": {
        "net": "compact", "optimizer": "muon", "lr": 0.12, "momentum": 0.6, "schedule": "linear", "label_smoothing": 0.1, "train_images": 80,
    },
    "adam": {"optimizer": "adam", "lr": 1e-3, "activation": "elu", "batch_norm": True},
    "augmented": {"flip": "alternate", "crop": 4, "cutout": 8, "dropout": 0.2},
    "loss-mse": {"loss": "mse", "lr": 0.1, "inception": (1,), "split_conv": (2,)},
}  # fmt: skip


def measure(name: str, folder: Path) -> list[float]:
    """Train the case `name` below `folder`; returns the mean loss of each epoch."""
    run = made(folder, **CASES[name])
    finish(run)
    lines = map(json.loads, run.metrics_jsonl.read_text().splitlines())
    return [line["train_loss"] for line in lines if line["kind"] == "epoch" and line["step"]]


def main() -> None:
    """Write the file."""
    golden = {}
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            golden[name] = measure(name, Path(folder))
    FILE.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
