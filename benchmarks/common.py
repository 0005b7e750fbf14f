"""Helpers of the benchmarks: one place for how a run is launched, and for what stands behind a number."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from ganhpc.core.statistics import Spread

ROOT = Path(__file__).resolve().parents[1]


def launch(*words: str) -> list[dict[str, Any]]:
    """`python launch.py WORDS --on local --json`, its progress shown; returns the rows."""
    command = [sys.executable, str(ROOT / "launch.py"), *words, "--on", "local", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def spread(values: list[float], form: str = ".3f") -> str:
    """mean ± sample standard deviation."""
    return Spread.of(values).text(form)


def machine() -> str:
    """The device and the versions in one line."""
    import torch

    from ganhpc.train.loop.result import device_name

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return f"{device_name(device)}, torch {torch.__version__}, Python {platform.python_version()}"
