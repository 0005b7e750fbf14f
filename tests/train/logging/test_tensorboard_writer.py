"""TensorBoard's files, read by TensorBoard's own two readers: whole, in order, and the same however often a run was killed."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import metadata

from ganhpc.core.files import write_json
from ganhpc.runs.run_folder import Run
from ganhpc.train.logging import event_file_trim, event_writer
from ganhpc.train.logging.tensorboard_writer import TensorBoardWriter
from ganhpc.train.loop.trainer import Stopped, Trainer
from ganhpc.train.tasks.classifier import networks
from tests.helpers import finish, made, trainer_of

WALL = ("seconds", "images_per_second", "epoch_seconds", "ops_per_second")
"""Figures that no two runs share."""


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs in the loop."""


def kill_at(monkeypatch: pytest.MonkeyPatch, run: Run, step: int) -> None:
    """Train until the step `step` is about to be made, and leave what is written by then."""
    real = Trainer._step

    def dying(self: Trainer, left: float) -> None:
        if self.progress.step == step:
            self.metrics.flush()  # the worst case: all that is behind the checkpoint has reached the disk
            raise Killed
        real(self, left)

    monkeypatch.setattr(Trainer, "_step", dying)
    with pytest.raises(Killed):
        trainer_of(run).fit()
    monkeypatch.setattr(Trainer, "_step", real)


def raw(run: Run) -> dict[str, list[int]]:
    """The steps of every tag, as they stand in the files one after the other."""
    found: dict[str, list[int]] = {}
    for path in sorted(run.tensorboard.glob("events.*")):
        for record, _ in event_file_trim._events(path):
            event = Event.FromString(record)
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    return found


def accumulated(run: Run) -> EventAccumulator:
    reader = EventAccumulator(
        str(run.tensorboard), size_guidance={"scalars": 0, "histograms": 0, "images": 0, "tensors": 0}
    )
    reader.Reload()
    return reader


def scalars(reader: EventAccumulator) -> dict[str, list[tuple[int, float]]]:
    tags = [tag for tag in reader.Tags()["scalars"] if not tag.endswith(WALL)]
    return {tag: [(point.step, point.value) for point in reader.Scalars(tag)] for tag in tags}


def end_of(run: Run) -> list[int]:
    """The status of each end of a session that the files tell."""
    found = []
    for path in sorted(run.tensorboard.glob("events.*")):
        for _, event in event_file_trim._events(path):
            for value in event.summary.value:
                if value.tag == metadata.SESSION_END_INFO_TAG:
                    content = value.metadata.plugin_data.content
                    found.append(metadata.parse_session_end_info_plugin_data(content).status)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nobody disturbed."""
    run = made(tmp_path_factory.mktemp("whole"), checkpoint_every=0.001)
    finish(run)
    return run


def test_a_run_shows_every_kind(whole: Run) -> None:
    reader = accumulated(whole)
    tags = reader.Tags()
    assert {"epoch/test_accuracy", "epoch/test_loss", "epoch/train_loss", "epoch/lr", "final/test_accuracy"} <= set(
        tags["scalars"]
    )
    assert tags["images"] == ["training_images", "confusion"] and tags["graph"]
    net = networks(whole.experiment(), (3, 32, 32), 10)["net"]
    parameters = [name for name, _ in net.named_parameters()]
    assert {f"{kind}/net.{name}" for kind in ("weights", "gradients") for name in parameters} == set(tags["histograms"])
    first = reader.Histograms("weights/net." + parameters[0])[0].histogram_value
    assert sum(first.bucket) == first.num == 3 * 6 * 25, "every weight is in a bin"
    graph = {node.name.split("/")[1] for node in reader.Graph().node if "/" in node.name}
    assert any("net" in name for name in graph)


def test_the_session_has_the_definition_and_its_end(whole: Run) -> None:
    content = accumulated(whole).SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    options = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert options["lr"] == 0.01 and options["conv"] == "6,16" and options["seed"] == 0 and options["epochs"] == 2
    assert (
        options["preset"] == "course"
        and options["flip"] == "random"
        and not {"device", "signature", "name"} & set(options)
    )
    assert start.group_name == "", "each run is a line of its own"
    assert end_of(whole) == [1]
    assert [path.name for path in whole.tensorboard.iterdir() if path.is_dir()] == [], "no run below the run"


@pytest.mark.slow  # a second of processor time: it computes
@pytest.mark.parametrize("dies", [[15], [4, 19]])
def test_a_killed_run_has_the_curves_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Run, dies: list[int]
) -> None:
    run = made(tmp_path, checkpoint_every=0.001)
    for step in dies:
        kill_at(monkeypatch, run, step)
        newest = sorted(run.checkpoints.glob("step-*.json"))[-1:]
        for half in newest[: len(dies) - 1]:
            half.unlink()  # the kill came before the newest checkpoint was whole: steps that were shown are made again
        with sorted(run.tensorboard.glob("events.*"))[-1].open("ab") as file:
            file.write(b"\x20\0\0\0\0\0\0\0half a record")
    finish(run)
    steps = raw(run)
    for tag, seen in steps.items():
        assert all(a < b for a, b in itertools.pairwise(seen)), (tag, seen)
    assert scalars(accumulated(run)) == scalars(accumulated(whole))
    assert len(end_of(run)) == 1 and accumulated(run).Tags()["graph"]
    assert steps["training_images"] == [0] and steps[metadata.SESSION_START_INFO_TAG] == [0]


@pytest.mark.slow  # a second of processor time: it computes
def test_the_fast_reader_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Run) -> None:
    """TensorBoard's data server, which is another program than its Python reader."""
    run = made(tmp_path, checkpoint_every=0.001)
    kill_at(monkeypatch, run, 14)
    finish(run)
    mine, other = served(run), served(whole)
    assert mine == other and mine["epoch/train_loss"][-1][0] == 20


def served(run: Run) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.context import RequestContext
    from tensorboard.data import server_ingester

    binary = server_ingester.get_server_binary()
    points: dict[str, list[tuple[int, float]]] = {}
    server = server_ingester.SubprocessServerDataIngester(
        server_binary=binary,
        logdir=str(run.tensorboard),
        reload_interval=0,
        channel_creds_type=_local(),
        samples_per_plugin={},
    )
    try:
        server.start()
        ask = {"experiment_id": "", "plugin_name": "scalars"}
        for _ in range(1200):
            found: Any = server.data_provider.read_scalars(RequestContext(), **ask, downsample=10_000)
            points = {
                tag: [(p.step, p.value) for p in values]
                for tag, values in found.get(".", {}).items()
                if not tag.endswith(WALL)
            }
            if "final/test_accuracy" in points:
                return points
            time.sleep(0.1)
        raise AssertionError(f"the data server shows only {sorted(points)}")
    finally:
        server._stdin_handle.close()  # the server ends with it


def _local() -> Any:
    from tensorboard.util import grpc_util

    return grpc_util.ChannelCredsType.LOCAL


@pytest.mark.slow  # a second of processor time: it computes
def test_a_stopped_run_has_not_ended_and_a_crashed_one_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path, checkpoint_every=0.001)
    run.ask_to_stop("enough")
    with pytest.raises(Stopped):
        trainer_of(run).fit()
    assert end_of(run) == []
    run.stop_file.unlink()
    monkeypatch.setattr(Trainer, "_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer_of(run).fit()
    assert end_of(run) == [2]
    monkeypatch.undo()
    finish(run)
    assert end_of(run) == [1], "how it failed once is no longer how it ended"


def test_looks_leave_random_numbers_and_weights_alone(tmp_path: Path) -> None:
    trainer = trainer_of(made(tmp_path, dropout=0.5, batch_norm=True))
    before = torch.get_rng_state()
    weights = {name: value.clone() for name, value in trainer.task.net.state_dict().items()}  # type: ignore[attr-defined]
    mode = trainer.task.modules["net"].training
    trainer.snapshots._task, trainer.metrics._curves._last = trainer.task, {}  # type: ignore[union-attr]
    trainer.snapshots.begin()
    trainer.snapshots._draw(1)
    assert torch.equal(before, torch.get_rng_state()) and trainer.task.modules["net"].training is mode
    assert all(torch.equal(value, weights[name]) for name, value in trainer.task.modules["net"].state_dict().items())
    trainer.metrics.close()


def test_values_that_are_not_finite_or_all_the_same_have_a_histogram(tmp_path: Path) -> None:
    run = made(tmp_path)
    curves = TensorBoardWriter(run, None)
    for name, values in {
        "same": [2.0] * 5,
        "zero": [0.0],
        "inf": [1.0, float("inf"), 3.0],
        "none": [float("nan")],
        "empty": [],
    }.items():
        curves.histogram(name, 1, torch.tensor(values))
        curves.histogram(name, 1, torch.tensor(values))
    curves.close()
    reader = accumulated(run)
    assert set(reader.Tags()["histograms"]) == {"same", "zero", "inf"}
    assert [reader.Histograms(name)[0].histogram_value.num for name in ("same", "zero", "inf")] == [5, 1, 2]
    assert all(len(reader.Histograms(name)) == 1 for name in ("same", "zero", "inf"))


def test_a_network_that_cannot_be_traced_costs_a_graph_and_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TensorBoardWriter, "graph", lambda *_: (_ for _ in ()).throw(RuntimeError("no tracing")))
    trainer_of(made(tmp_path))
    assert "TensorBoard shows no graph: RuntimeError: no tracing" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_a_warning_and_what_waits_is_written_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path)
    write_json(run.folder / "tb", {})
    curves = TensorBoardWriter(run, None)
    curves.scalars("train", 50, {"loss": 1.5})
    curves.flush()
    assert capsys.readouterr().out.count("warning: TensorBoard's curves wait") == 1
    (run.folder / "tb").unlink()
    curves.close()
    assert raw(run)["train/loss"] == [50]


def test_files_of_one_second_are_read_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_writer, "_numbers", itertools.count(8))
    monkeypatch.setattr(event_writer.time, "time", lambda: 1.8e9)
    run = made(tmp_path)
    for k in range(1, 5):
        curves = TensorBoardWriter(run, k - 1 or None)
        curves.scalars("train", k, {"loss": 1.0})
        curves.close()
    assert raw(run)["train/loss"] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["lat\udce9", "s3://bucket", "two\nlines"])
def test_folders_of_any_name_have_curves_that_a_resumed_run_keeps(tmp_path: Path, name: str) -> None:
    run = made(tmp_path / name)
    for step, more in ((None, (1, 2)), (2, (3,))):
        curves = TensorBoardWriter(run, step)
        for k in more:
            curves.scalars("train", k, {"loss": 1.0})
        curves.close()
    assert raw(run)["train/loss"] == [1, 2, 3]


def test_what_is_no_event_file_is_not_waited_for_and_hides_no_other(tmp_path: Path) -> None:
    """A resumed run brings its curves in order, whatever else lies among them."""
    run = made(tmp_path)
    curves = TensorBoardWriter(run, None)
    for step in (1, 2):
        curves.scalars("train", step, {"loss": 1.0})
    curves.close()
    os.mkfifo(run.tensorboard / "events.out.tfevents.0.fifo")
    (run.tensorboard / "events.out.tfevents.0.folder").mkdir()
    (run.tensorboard / "events.out.tfevents.0.nowhere").symlink_to("nowhere")
    TensorBoardWriter(run, 1).close()
    shutil.rmtree(run.tensorboard / "events.out.tfevents.0.folder")
    for name in ("fifo", "nowhere"):
        (run.tensorboard / f"events.out.tfevents.0.{name}").unlink()
    assert raw(run)["train/loss"] == [1]
