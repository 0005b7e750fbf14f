"""MyName: a program of one's own, with options of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ganhpc.runs.experiment import Budget
from ganhpc.runs.options import option
from jobs.program import Program


@dataclass(frozen=True, kw_only=True)
class MyName(Program):
    """The definition: each field made by `option` is an option of `python launch.py my-name`, and {its name} its value in the command."""

    NAME: ClassVar[str] = "my-name"
    TAKES_COMMAND: ClassVar[bool] = False  # it has its command
    WATCHED: ClassVar[tuple[str, ...]] = ("_my_name.py",)  # once edited, the same command is another run

    folder: str = str(Path(__file__).resolve().parent)
    command: tuple[str, ...] = (
        "python", "_my_name.py", "--out", "{checkpoints}", "--seed", "{seed}",
        "--steps", "{steps}", "--width", "{width}", "--lr", "{lr}",
    )  # fmt: skip
    steps: int = option(20_000, "steps of the training", low=1, high=10**9)
    width: int = option(32, "units of the hidden layer", low=1, high=4096)
    lr: float = option(0.01, "learning rate", low=0.0)


PRESETS = {
    "default": MyName(headline="loss", better="lower", measure="_my_name:measured"),
    "quick": MyName(preset="quick", headline="loss", better="lower", steps=200, width=8, budget=Budget(time=120.0)),
}
