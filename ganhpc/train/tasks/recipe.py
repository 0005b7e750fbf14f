"""Options that a classifier's definition leaves open, settled by its network: augmentation, and the last evaluation."""

from __future__ import annotations

from typing import Any

_FEW_EPOCHS = {"crop": 2, "cutout": 0}
_MANY_EPOCHS = {"crop": 4, "cutout": 8}
"""For networks that see the images a hundred times and more: they would otherwise overfit (docs/record.md)."""
DEEP = ("recurrent", "convmixer", "densenet")


def settled(experiment: Any, choices: dict[str, Any]) -> dict[str, Any]:
    """crop, cutout and tta of `experiment`: as it says, or else as its network needs, which `choices` names for `--net auto`."""
    net = choices.get("net", "compact") if experiment.net == "auto" else experiment.net
    augmentation = _MANY_EPOCHS if net in DEEP else _FEW_EPOCHS
    # A first layer of stride 2 sees an image moved by one pixel with its other pixels: a point of accuracy (docs/record.md).
    usual = {**augmentation, "tta": "flip" if net == "course" else "shift"}
    asked = {name: getattr(experiment, name) for name in usual}
    return {name: usual[name] if value in (None, "auto") else value for name, value in asked.items()}
