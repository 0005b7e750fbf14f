"""Figures that a program writes as TensorBoard's event files: the headline, over several segments, damaged files."""

from __future__ import annotations

import inspect
import math
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from ganhpc.analysis.results.rows import row
from ganhpc.program import said_figures
from tests.program.test_program import made, segment


def write(folder: Path, tags: dict[str, dict[int, float]]) -> None:
    """An event file with scalars, tag -> step -> value."""
    writer = EventFileWriter(str(folder))
    for tag, points in tags.items():
        for step, value in points.items():
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(step=step, wall_time=time.time(), summary=summary))
    writer.close()


WRITES = """
import os, sys, time
from pathlib import Path
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
"""
WRITES += inspect.getsource(write)
WRITES += """
first = int(os.environ["GANHPC_SEGMENT"]) == 1
values = {1: 0.9, 2: 0.5, 3: 0.7} if first else {3: 0.4, 4: 0.3}
write(Path(os.environ["GANHPC_TENSORBOARD"]) / "val", {"loss/val": values, "lr": {1: 0.1}})
open(os.environ["GANHPC_CHECKPOINTS"] + "/x", "a").write("x")
sys.exit(75 if first else 0)
"""


def test_the_headline_is_the_newest_value_of_all_segments(tmp_path: Path) -> None:
    run = made(tmp_path, "python", "-c", WRITES, headline="loss/val", better="lower")
    assert segment(run).returncode == 75, run.log.read_text()
    assert run.status()["last"] == {"loss/val": 0.7} or math.isclose(
        run.status()["last"]["loss/val"], 0.7, rel_tol=1e-6
    )
    assert segment(run).returncode == 0, run.log.read_text()
    result = run.result()
    assert result is not None and result["steps"] == 4
    assert (result["headline"], result["better"]) == ("loss/val", "lower")
    assert math.isclose(result["loss/val"], 0.3, rel_tol=1e-6)  # type: ignore[arg-type]
    assert math.isclose(row(run)["loss/val"], 0.3, rel_tol=1e-6)


def test_a_curve_has_each_step_once_and_damaged_files_say_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a", {"loss": {1: 1.0, 2: math.nan, 3: 3.0}, "other": {2: 5.0}})
    points = said_figures.from_tensorboard([tmp_path], [])
    assert points == [{"step": 1, "loss": 1.0}, {"step": 2, "other": 5.0}, {"step": 3, "loss": 3.0}]
    assert said_figures.from_tensorboard([tmp_path], ["other"]) == [{"step": 2, "other": 5.0}]
    (events,) = (tmp_path / "a").iterdir()
    whole = events.read_bytes()
    for damaged in (b"", b"\xff" * 100, whole[:-7], whole[:60] + b"\0" * 20 + whole[80:]):
        events.write_bytes(damaged)
        assert all(set(point) <= {"step", "loss", "other"} for point in said_figures.from_tensorboard([tmp_path], []))
    assert said_figures.from_tensorboard([tmp_path / "nothing"], []) == []
