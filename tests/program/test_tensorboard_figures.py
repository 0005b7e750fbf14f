"""Figures that a program writes as TensorBoard's event files: the headline, over several segments, damaged files."""

from __future__ import annotations

import inspect
import math
import os
import time
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import RecordWriter

from ganhpc.analysis.results.rows import row
from ganhpc.program import tensorboard_figures
from tests.program.local_runs import made, segment


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


@pytest.mark.slow  # 2 s in all
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


def test_a_counter_that_begins_anew_in_a_file_goes_on_and_one_in_another_file_counts_again(tmp_path: Path) -> None:
    """As for each epoch; and as after a resumption."""
    writer = EventFileWriter(str(tmp_path))
    for value, step in enumerate((1, 2, 3, 1, 2, 3), 1):
        summary = Summary(value=[Summary.Value(tag="loss", simple_value=value)])
        writer.add_event(Event(step=step, wall_time=time.time(), summary=summary))
    writer.close()
    points = tensorboard_figures.read([tmp_path]).points
    assert points == [{"step": step, "loss": step} for step in range(1, 7)]
    write(tmp_path / "named", {"step": {1: 5.0, 2: 6.0}, "epoch": {1: 0.0, 2: 1.0}})
    assert tensorboard_figures._scalars(tmp_path / "named")["step"] == {1: 5.0, 2: 6.0}
    for name, values in {"a": {1: 1.0, 2: 2.0, 3: 3.0}, "b": {3: 4.0, 4: 5.0}}.items():
        write(tmp_path / "other" / name, {"loss": values})
        (file,) = (tmp_path / "other" / name).iterdir()
        file.rename(tmp_path / "other" / f"{file.name}.{name}")
        (tmp_path / "other" / name).rmdir()
    points = tensorboard_figures.read([tmp_path / "other"]).points
    assert [point["loss"] for point in points] == [1, 2, 4, 5]


def test_a_curve_has_each_step_once_and_damaged_files_say_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a", {"loss": {1: 1.0, 2: math.nan, 3: 3.0}, "other": {2: 5.0}})
    points = tensorboard_figures.read([tmp_path]).points
    assert points == [{"step": 1, "loss": 1.0}, {"step": 2, "other": 5.0}, {"step": 3, "loss": 3.0}]
    assert tensorboard_figures.read([tmp_path], "other").points == [{"step": 2, "other": 5.0}]
    assert tensorboard_figures.read([tmp_path], "accuracy").points == points, "a name that none has leaves all"
    (events,) = (tmp_path / "a").iterdir()
    whole = events.read_bytes()
    for damaged in (b"", b"\xff" * 100, whole[:-7], whole[:60] + b"\0" * 20 + whole[80:]):
        events.write_bytes(damaged)
        assert all(set(point) <= {"step", "loss", "other"} for point in tensorboard_figures.read([tmp_path]).points)
    assert tensorboard_figures.read([tmp_path / "nothing"]) == ([], [])


@pytest.mark.parametrize(
    ("folders", "meant", "named"),
    [
        ({"train": 0.1, "val": 0.2}, 0.2, {"train/loss": 0.1, "val/loss": 0.2}),
        ({"logs/20261129-163737/train": 0.1, "logs/20261129-163737/validation": 0.2}, 0.2, {"train/loss": 0.1, "validation/loss": 0.2}),
        ({".": 0.1, "val": 0.2}, 0.1, {"val/loss": 0.2}),
        ({"x/train/s": 0.1, "x/test/s": 0.2}, 0.2, {"train/loss": 0.1, "test/loss": 0.2}),
        ({"fold1": 0.1, "fold2": 0.2}, 0.1, {"fold1/loss": 0.1, "fold2/loss": 0.2}),
        ({"val": 0.1, "test": 0.2}, 0.1, {"val/loss": 0.1, "test/loss": 0.2}),
    ],
)  # fmt: skip
def test_a_tag_in_several_folders_has_a_name_for_each_and_what_it_means_alone_is_said(
    tmp_path: Path, folders: dict[str, float], meant: float, named: dict[str, float]
) -> None:
    for folder, value in folders.items():
        write(tmp_path / folder, {"loss": {1: value}, f"only in {folder}": {1: 7.0}})
    found = tensorboard_figures.read([tmp_path])
    (point,) = found.points
    told = {name: value for name, value in point.items() if "loss" in name}
    assert told == pytest.approx({"loss": meant, **named})
    (sentence,) = found.sentences
    assert all(name in sentence for name in named)
    for name, value in {"loss": meant, **named}.items():
        (point,), said = tensorboard_figures.read([tmp_path], name)
        assert point == pytest.approx({"step": 1, name: value})
        assert said == ([sentence] if name == "loss" else []), "a headline with its folder leaves nothing to be said"


@pytest.mark.parametrize(
    "names",
    [
        ("lightning_logs/version_9", "lightning_logs/version_10"),
        ("runs/Nov30_23-59-00_node-1", "runs/Dec01_00-10-00_node-2"),
        ("2026-11-30T23:59:00", "2026-12-01T00:10:00"),
    ],
)
def test_folders_of_several_starts_are_one_curve(tmp_path: Path, names: tuple[str, str]) -> None:
    for second, (name, values) in enumerate(zip(names, ({1: 0.9, 2: 0.8}, {2: 0.5, 3: 0.4}), strict=True)):
        write(tmp_path / name / "val", {"loss": values})
        (events,) = (tmp_path / name / "val").iterdir()
        events.rename(events.with_name(f"events.out.tfevents.{1700000000 + second}.host"))
    points, said = tensorboard_figures.read([tmp_path])
    assert said == [] and [point["loss"] for point in points] == pytest.approx([0.9, 0.5, 0.4])
    (last,) = [point for point in tensorboard_figures.read([tmp_path], "val/loss").points if point["step"] == 3]
    assert last == pytest.approx({"step": 3, "val/loss": 0.4})


@pytest.mark.slow  # 3 s in all
def test_a_program_whose_tag_is_in_two_folders_says_which_is_meant(tmp_path: Path) -> None:
    script = WRITES.replace('/ "val", {"loss/val"', '/ "val", {"loss"').replace("sys.exit(75 if first else 0)", "")
    script += 'write(Path(os.environ["GANHPC_TENSORBOARD"]) / "train", {"loss": {1: 0.05}})\n'
    run = made(tmp_path, "python", "-c", script, headline="val/loss", better="lower")
    assert segment(run).returncode == 0, run.log.read_text()
    assert run.status()["last"] == pytest.approx({"val/loss": 0.7}) and row(run)["val/loss"] == pytest.approx(0.7)
    run = made(tmp_path, "python", "-c", script, headline="loss", better="lower")
    assert segment(run).returncode == 0
    assert "loss is in 2 folders: val/loss is taken; --headline train/loss names another" in run.log.read_text()
    assert run.status()["last"] == pytest.approx({"loss": 0.7})


@pytest.mark.slow  # 3 s in all
@pytest.mark.parametrize(("own", "known"), [("", "loss/val, lr"), ("figures(step=1, mine=3)", "mine")])
def test_a_headline_that_is_no_figure_is_said(tmp_path: Path, own: str, known: str) -> None:
    script = WRITES.replace("sys.exit(75 if first else 0)", f"from ganhpc.program import figures; {own}")
    run = made(tmp_path, "python", "-c", script, headline="acc", better="higher")
    assert segment(run).returncode == 0, run.log.read_text()
    said = f"warning: the headline acc is no figure of the program: it has {known}; --headline names one of them"
    assert said in run.log.read_text()
    assert set(run.status()["last"]) == set(known.split(", "))


@pytest.mark.slow  # 2 s in all
def test_event_files_anywhere_in_the_run_are_read(tmp_path: Path) -> None:
    script = WRITES.replace('os.environ["GANHPC_TENSORBOARD"]) / "val"', 'os.environ["GANHPC_RUN"]) / "logs"')
    script = script.replace("sys.exit(75 if first else 0)", "")
    run = made(tmp_path, "python", "-c", script, better="lower")
    assert segment(run).returncode == 0, run.log.read_text()
    assert set(run.status()["last"]) == {"loss/val", "lr"}


def test_a_folder_has_its_name_below_the_nearest_of_the_given(tmp_path: Path) -> None:
    write(tmp_path / "tb", {"loss": {1: 0.5}})
    write(tmp_path / "tb" / "train", {"loss": {1: 0.1}})
    write(tmp_path / "logs", {"other": {1: 3.0}})
    points, said = tensorboard_figures.read([tmp_path, tmp_path / "tb"])
    assert points == [pytest.approx({"step": 1.0, "loss": 0.5, "train/loss": 0.1, "other": 3.0})]
    assert "the one outside folders is taken" in said[0]


def test_a_fifo_among_the_event_files_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, {"loss": {1: 0.5}})
    os.mkfifo(tmp_path / "events.out.tfevents.1.fifo")
    (tmp_path / "events.out.tfevents.2.zero").symlink_to("/dev/zero")
    assert tensorboard_figures.read([tmp_path]).points == [{"step": 1.0, "loss": 0.5}]


def test_records_that_are_no_events_hide_no_other_file(tmp_path: Path) -> None:
    """Whole records, of the right checksums, of something else."""
    write(tmp_path, {"loss": {1: 0.5}})
    with (tmp_path / "events.out.tfevents.1.foreign").open("wb") as file:
        for record in (b"\xff" * 40, b"", b"\x0a\xff\xff\xff\xff\x0f"):
            RecordWriter(file).write(record)
    assert tensorboard_figures.read([tmp_path]).points == [{"step": 1.0, "loss": 0.5}]
