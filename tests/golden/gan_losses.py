"""The means of two epochs' figures of each tiny GAN from a fixed seed, which refactors keep: `python -m tests.golden.gan_losses` writes
them anew."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.helpers import finish
from tests.train.tasks.tiny import VARIANTS, made

FILE = Path(__file__).with_suffix(".json")


def measure(case: str, folder: Path) -> list[dict[str, float]]:
    """Train the case below `folder`; returns the means of each epoch."""
    run = made(folder, case)
    finish(run)
    lines = [json.loads(line) for line in run.metrics_jsonl.read_text().splitlines()]
    return [
        {name: round(value, 7) for name, value in line.items() if name.startswith("train_")}
        for line in lines
        if line["kind"] == "epoch" and line["step"]
    ]


def main() -> None:
    """Write the file."""
    golden = {}
    for case in VARIANTS:
        with tempfile.TemporaryDirectory() as folder:
            golden[case] = measure(case, Path(folder))
    FILE.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
