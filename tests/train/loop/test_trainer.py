"""The loop: finished runs, resumed runs, stopped runs, and what they leave behind."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
import torch

from ganhpc.core.errors import UserError
from ganhpc.core.files import read_json
from ganhpc.runs import file_owner, job_deadline
from ganhpc.runs.job_deadline import Bound
from ganhpc.runs.progress import Progress, Untrained
from ganhpc.runs.run_folder import Run, State
from ganhpc.train.loop import stages
from ganhpc.train.loop.trainer import NonFinite, Stopped, Trainer
from tests.golden import losses
from tests.helpers import finish, made, small, trainer_of


class Killed(BaseException):
    """Stands for kill -9 inside one process: nothing after it runs in the loop."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Make the loop die when it is about to make its step number `step` (from 0)."""
    real = Trainer._step

    def dying(self: Trainer, left: float) -> None:
        if self.progress.step == step:
            monkeypatch.setattr(Trainer, "_step", real)
            raise Killed
        real(self, left)

    monkeypatch.setattr(Trainer, "_step", dying)


def lines(run: Run) -> list[dict]:
    return [json.loads(line) for line in run.metrics_jsonl.read_text().splitlines()]


def test_a_finished_run_says_all_that_a_table_needs(tmp_path: Path) -> None:
    run = made(tmp_path)
    result = finish(run)
    assert read_json(run.result_json) == json.loads(json.dumps(result))
    assert run.run_status().state is State.DONE
    assert (
        result["epochs"] == result["epochs_planned"] == 2 and result["ended_by"] == "epochs" and result["steps"] == 20
    )
    assert result["params"] == 62_006 and result["macs"] == 651_720 and result["ops"] == 1_314_676
    assert 0 <= result["test_accuracy"] <= 1 and result["test_accuracy"] == result["test_accuracy_no_tta"]
    assert result["step_ops"] > 2 * result["ops"] * result["batch_size"], "backward costs more than forward"
    phases = result["seconds_by_phase"]  # each rounded to the millisecond
    assert 0 < sum(phases.values()) <= result["train_seconds"] * 1.001 + 0.0005 * len(phases)
    assert len(result["weights_sha256"]) == 64 and result["budget_seconds"] is None
    evaluation = read_json(run.evaluation_json)
    assert evaluation is not None
    assert [point["epoch"] for point in evaluation["curve"]] == [0, 1, 2], "before the first epoch and after each"
    assert sum(map(sum, evaluation["confusion"])) == 500
    assert len(evaluation["accuracy_by_class"]) == 10
    assert [line["epoch"] for line in lines(run) if line["kind"] == "epoch"] == [0, 1, 2]
    assert list(run.tensorboard.glob("events.*"))


@pytest.mark.slow  # 6 s in all
@pytest.mark.parametrize("dies", [[3], [10], [15], [4, 19], [1, 11, 12]])
def test_a_killed_run_ends_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: list[int]) -> None:
    options = {"dropout": 0.3, "batch_norm": True, "checkpoint_every": 0.001, "momentum": 0.8}
    reference = finish(made(tmp_path / "whole", **options))
    run = made(tmp_path / "killed", **options)
    for step in dies:
        kill_at(monkeypatch, step)
        with pytest.raises(Killed):
            trainer_of(run).fit()
        torch.manual_seed(12345)  # whatever else drew numbers in between
    result = finish(run)
    assert result["weights_sha256"] == reference["weights_sha256"]
    assert result["test_accuracy"] == reference["test_accuracy"]
    assert result["segments"] == len(dies) + 1
    kept = [(line["kind"], line["step"], line.get("train_loss")) for line in lines(run)]
    assert kept == [
        (line["kind"], line["step"], line.get("train_loss"))
        for line in lines(Run(tmp_path / "whole" / run.folder.relative_to(tmp_path / "killed")))
    ], "no overlap"


@pytest.mark.slow  # a second of processor time: it computes
def test_a_broken_newest_checkpoint_still_ends_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = finish(made(tmp_path / "whole"))
    run = made(tmp_path / "killed", checkpoint_every=0.001)
    kill_at(monkeypatch, 17)
    with pytest.raises(Killed):
        trainer_of(run).fit()
    newest = max(run.checkpoints.glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    assert finish(run)["weights_sha256"] == reference["weights_sha256"]
    assert "is broken" in capsys.readouterr().out


@pytest.mark.slow  # a second of processor time: it computes
def test_a_wish_to_stop_saves_and_the_rest_follows_later(tmp_path: Path) -> None:
    reference = finish(made(tmp_path / "whole"))
    run = made(tmp_path / "stopped")
    trainer = trainer_of(run)
    run.ask_to_stop("enough")
    with pytest.raises(Stopped, match="enough"):
        trainer.fit()
    assert run.has_checkpoint() and run.run_status().state is State.RESUMABLE
    run.stop_file.unlink()
    assert finish(run)["weights_sha256"] == reference["weights_sha256"]


@pytest.mark.slow  # a second of processor time: it computes
def test_the_end_of_the_job_stops_the_run_in_time(tmp_path: Path) -> None:
    run = made(tmp_path, epochs=100_000)
    trainer = trainer_of(run)
    job_deadline.write(run, Bound(time.time() + 9), file_owner.mine())
    with pytest.raises(Stopped, match="out of time"):
        trainer.fit()
    left = (read_json(run.deadline_json) or {})["end"] - time.time()
    assert left > 0, "there is time left to end well"
    assert run.has_checkpoint()


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path, checkpoint_every=0.001)
    real = Trainer._step

    def poisoned(self: Trainer, left: float) -> None:
        if self.progress.step == 12:
            for p in self.task.modules["net"].parameters():
                p.data.fill_(math.nan)
        real(self, left)

    monkeypatch.setattr(Trainer, "_step", poisoned)
    with pytest.raises(NonFinite, match=r"non-finite.*checkpoint of step \d+ is kept.*--lr"):
        trainer_of(run).fit()
    saved = torch.load(max(run.checkpoints.glob("*.pt")), weights_only=True)
    assert all(torch.isfinite(value).all() for value in saved["modules"]["net"].values())


@pytest.mark.slow  # a second of processor time: it computes
def test_time_is_shared_between_segments_and_never_exceeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # By the processor time: a busy machine, which takes none of that away, may pause for a second in the last evaluation.
    monkeypatch.setattr("fvcore.common.timer.perf_counter", time.process_time)
    run = made(tmp_path, epochs=None, time=4.0)
    trainer = trainer_of(run)
    job_deadline.write(run, Bound(time.time() + 7), file_owner.mine())  # five seconds are kept for the end of the job
    with pytest.raises(Stopped):
        trainer.fit()
    first = trainer.clock.used
    assert first < 4.0
    run.deadline_json.unlink()
    later = trainer_of(run)
    assert later.clock.used >= first, "what the first segment used stays on the clock"
    later.fit()
    evaluation = later.clock.shares()["evaluation"] / len(later.progress.curve)
    assert later.clock.used <= 4.0 + 4 * evaluation + 0.5, "the last evaluation may take longer than the others"
    assert later.progress.ended_by == "time"


def test_a_network_over_its_budget_is_refused_with_its_largest_layers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"48[,.]?120"):
        trainer_of(made(tmp_path, budget_params=62_005))
    trainer_of(made(tmp_path, budget_params=62_006))


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--batch-size 400"):
        trainer_of(made(tmp_path, batch_size=400))


@pytest.mark.parametrize("name", losses.CASES)
def test_losses_are_those_of_the_golden_file(tmp_path: Path, name: str) -> None:
    """Refactors keep them."""
    golden = json.loads(losses.FILE.read_text())
    assert losses.measure(name, tmp_path) == pytest.approx(golden[name], rel=2e-3)


def test_another_definition_is_another_run(tmp_path: Path) -> None:
    assert made(tmp_path).folder != made(tmp_path, lr=0.02).folder
    assert small().signature == small().signature


def test_an_evaluation_that_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step can spoil the weights without a loss that tells."""
    run = made(tmp_path)
    trainer = trainer_of(run)
    real = trainer.task.evaluate
    monkeypatch.setattr(trainer.task, "evaluate", lambda **how: {**real(**how), "test_loss": math.nan})
    with pytest.raises(NonFinite, match="test_loss"):
        trainer.fit()


@pytest.mark.parametrize(("job_ends", "needed", "saves"), [(False, 5.0, False), (True, 5.0, False), (True, 2.0, True)])
def test_done_means_trained(job_ends: bool, needed: float, saves: bool) -> None:
    saved: list[bool] = []
    stands = Progress(finished=True, ended_by="time")
    with pytest.raises(Stopped if saves else Untrained) as raised:
        stages.must_be_trained(stands, 3.0, needed, job_ends, lambda: saved.append(True))
    assert bool(saved) == saves and stands.finished is not saves
    if not saves:
        assert "--time 3s" in str(raised.value) and "--time 20s or more" in str(raised.value)
    stages.must_be_trained(Progress(step=1, finished=True), 3.0, needed, job_ends, lambda: saved.append(True))


def test_a_time_without_room_for_a_step_is_refused_and_leaves_no_result(tmp_path: Path) -> None:
    run = made(tmp_path, epochs=None, time=0.001)
    trainer = trainer_of(run)
    with pytest.raises(Untrained, match="there was no time for a single training step: of --time"):
        trainer.fit()
    assert not run.result_json.exists() and trainer.progress.step == 0
