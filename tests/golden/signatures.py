"""Signature, group and variant of each preset of each experiment: `python -m tests.golden.signatures` writes them anew.

A run is found by its signature, so one that changes makes finished runs be trained again: a change here is meant, and stands in CHANGELOG.md.
The presets of cifar, dcgan, began and wgan-gp are as commit 2a4d268 had them.
"""

from __future__ import annotations

import json
from pathlib import Path

from ganhpc.runs import known_experiments

FILE = Path(__file__).with_name("signatures.json")


def signatures() -> dict[str, list[str]]:
    """`<experiment> <preset>` -> [signature, group, variant]."""
    made = {
        f"{name} {preset}": one
        for name in known_experiments.names()
        for preset, one in known_experiments.find(name).presets().items()
    }
    return {name: [one.signature, one.group, one.variant] for name, one in sorted(made.items())}


if __name__ == "__main__":
    FILE.write_text(json.dumps(signatures(), indent=1) + "\n")
