"""Every random state that training may draw from, saved and taken back, so that a resumed run draws the same numbers."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from ganhpc.train.runtime.distributed import Distributed


def random_state(process_group: Distributed) -> dict[str, Any]:
    """Every random state that training may draw from: torch's of each rank, Python's, NumPy's."""
    kinds = {"cpu": torch.get_rng_state()}
    if process_group.device.type == "cuda":
        kinds["cuda"] = torch.cuda.get_rng_state(process_group.device)
    name, keys, *rest = np.random.get_state()
    version, words, gauss = random.getstate()
    return {
        "torch": {kind: process_group.gather_bytes(value) for kind, value in kinds.items()},
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": [version, list(words), gauss],
    }


def restore_random_state(state: dict[str, Any], process_group: Distributed) -> None:
    """Take back what `random_state` gave. A rank that did not exist then starts from rank 0's."""
    for kind, ranks in state["torch"].items():
        value = ranks[process_group.rank if process_group.rank < len(ranks) else 0].cpu()
        if kind == "cpu":
            torch.set_rng_state(value)
        elif process_group.device.type == "cuda":
            torch.cuda.set_rng_state(value, process_group.device)
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
