"""Every random state that training may draw from, saved and taken back, so that a resumed run draws the same numbers."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from ganhpc.train.runtime import checkpoint_content as content
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
    """Take back what `random_state` gave. A rank that did not exist then starts from rank 0's.

    Raises ValueError, KeyError and the like where it is no state of these generators, on all ranks alike.
    """
    ranks = {kind: _states(each, f"random.torch.{kind}") for kind, each in state["torch"].items()}
    numpy_state = content.numpy_state(state["numpy"], "random.numpy")
    python_state = content.python_state(state["python"], "random.python")
    for each in ranks["cpu"]:
        torch.Generator().set_state(each)
    for kind, states in ranks.items():
        value = states[process_group.rank if process_group.rank < len(states) else 0]
        if kind == "cpu":
            torch.set_rng_state(value)
        elif process_group.device.type == "cuda":
            torch.cuda.set_rng_state(value, process_group.device)
    np.random.set_state(numpy_state)
    random.setstate(python_state)


def _states(given: Any, what: str) -> list[torch.Tensor]:
    """States of torch's generators, one for each rank."""
    if not isinstance(given, list) or not given:
        raise ValueError(f"{what} is no list of states")
    for each in given:
        if content.finite(each, what).dtype != torch.uint8 or each.shape != given[0].shape or each.dim() != 1:
            raise ValueError(f"{what} is no list of states")
    return [each.cpu().contiguous() for each in given]
