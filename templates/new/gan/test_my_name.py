"""my-name: trains through the launcher, its pictures are drawn again from its folder, and two runs of one seed are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ganhpc.core.errors import UserError
from ganhpc.core.settings import ROOT
@imports@


def typed(folder: Path, *words: str) -> None:
    """Type `python launch.py ..` with the runs below `folder`."""
    where = {"GANHPC_RUNS": str(folder), "OMP_NUM_THREADS": "1"@jobs@}
    command = [sys.executable, str(ROOT / "launch.py"), *words]
    done = subprocess.run(command, env={**os.environ, **where}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_networks_have_their_shapes() -> None:
    sizes = {"image_size": 32, "channels": 3, "base_channels": 8}
    generator, discriminator = MyNameGenerator(**sizes, latent_dim=5), MyNameDiscriminator(**sizes)
    images = generator(torch.zeros(2, 5))
    assert images.shape == (2, 3, 32, 32) and discriminator(images).shape == (2,)
    with pytest.raises(UserError, match="power of two"):
        MyNameDiscriminator(**sizes | {"image_size": 24})


@pytest.mark.slow  # two short trainings, in processes of their own
def test_it_trains_and_two_runs_of_one_seed_are_the_same(tmp_path: Path) -> None:
    results: list[dict[str, Any]] = []
    for name in "ab":
        typed(tmp_path / name, "my-name", "--preset", "quick", "--on", "local", "--device", "cpu")
        (path,) = (tmp_path / name).glob("my-name/*/result.json")
        results.append(json.loads(path.read_text()))
    assert results[0]["state"] == "done" and results[0]["diversity"] > 0
    assert results[0]["fake_score"] == results[1]["fake_score"]
    typed(tmp_path / "a", "sample", "my-name", "--out", str(tmp_path / "pictures.png"))
    assert (tmp_path / "pictures.png").stat().st_size > 100
