"""The pictures of a whole run: whatever lies among its samples and in its metrics takes nothing from the run."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from ganhpc.runs.run_folder import Run
from ganhpc.train.logging import run_animation
from tests.helpers import made

NAME = "step-0000000020.png"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    """A tiny PNG that claims a size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")
    )


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a bomb": lambda path: path.write_bytes(png(60_000, 60_000)),
    "a text without end": lambda path: path.write_bytes(
        png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 2**26)))
    ),
    "cut": lambda path: path.write_bytes(png(40, 40)),
    "a chunk of no name": lambda path: path.write_bytes(png(8, 8)[:33] + b"\0\0\0\7\1\2\3\4abc"),
    "another size": lambda path: Image.new("RGB", (3, 50)).save(path),
    "no picture": lambda path: path.write_bytes(b"x"),
    "a fifo": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
}


def sampled(tmp_path: Path, loss: float = 1.0) -> Run:
    """A run with two samples and some lines of metrics."""
    run = made(tmp_path)
    run.samples.mkdir()
    for step in (0, 10):
        Image.new("RGB", (8, 8)).save(run.samples / f"step-{step:010d}.png")
    lines = [{"kind": "train", "step": k, "epoch": k / 10, "loss": loss * (-1) ** k} for k in range(12)]
    run.metrics_jsonl.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_picture_costs_a_warning_and_no_result(tmp_path: Path, foreign: str) -> None:
    run, said = sampled(tmp_path), list[str]()
    FOREIGN[foreign](run.samples / NAME)
    run_animation.make(run, said.append)
    assert all(line.startswith("warning: the pictures of the whole run could not be made (") for line in said)
    assert said or (run.samples / "samples.gif").exists()


@pytest.mark.parametrize("loss", [1e200, 9e299, 1e-320])
def test_giant_numbers_in_the_metrics_cost_a_warning_at_most(tmp_path: Path, loss: float) -> None:
    run, said = sampled(tmp_path, loss), list[str]()
    run_animation.make(run, said.append)
    assert (run.samples / "samples.gif").exists() and len(said) <= 1


def test_no_matplotlibrc_of_the_present_folder_changes_a_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """LaTeX, which a file there may ask for, would run the names of figures."""
    run = sampled(tmp_path)
    run_animation.plot(run.metrics_jsonl, tmp_path / "usual.png")
    for key, value in (("text.usetex", True), ("axes.facecolor", "red"), ("savefig.dpi", 7)):
        monkeypatch.setitem(matplotlib.rcParams, key, value)
    run_animation.plot(run.metrics_jsonl, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "usual.png").read_bytes()
    assert matplotlib.rcParams["text.usetex"] and not caplog.records
