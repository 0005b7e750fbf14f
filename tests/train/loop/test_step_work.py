"""The course's line at the end of each pass: its time, the operations that it made, operations a second; and what else is told of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ganhpc.analysis.report import plots
from ganhpc.analysis.report.elements import Plot
from ganhpc.analysis.report.run_data import RunData
from ganhpc.analysis.report.sections import training
from ganhpc.analysis.report.translation import Translator
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.network_description import Operations
from ganhpc.runs.run_folder import Run
from ganhpc.train.describe.step_flops import training_step
from ganhpc.train.flops import peak_flops, registry
from ganhpc.train.loop.step_work import StepWork
from ganhpc.train.runtime.cuda_graph import ReplayedSteps
from ganhpc.train.runtime.training_clock import Clock
from tests.helpers import finish, made, small


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict]:
    """Four passes of the course's network: SGD with momentum, the three levels of the learning rate."""
    run = made(tmp_path_factory.mktemp("course"), epochs=4)
    return run, finish(run)


def test_each_pass_tells_its_time_and_operations(course: tuple[Run, dict]) -> None:
    run, result = course
    points = json.loads(run.evaluation_json.read_text())["curve"]
    whole = [point for point in points if point["epoch"] in (1, 2, 3, 4)]
    assert "epoch_seconds" not in points[0], "before training nothing was done"
    for point in whole[:4]:
        assert point["epoch_ops"] == result["step_ops"] * 10 == result["epoch_ops"]
        # Rounded to a ten-thousandth: a quick machine is through a pass in a few thousandths.
        assert point["epoch_ops"] / point["ops_per_second"] == pytest.approx(point["epoch_seconds"], abs=6e-5)
    seconds = sum(point["epoch_seconds"] for point in whole[:4])
    assert result["epoch_seconds"] == pytest.approx(seconds / 4, abs=6e-5)


def test_the_terminal_the_report_and_the_summary_show_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made(tmp_path, epochs=2)
    finish(run)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert all(" s | " in line and line.endswith(" operations/s") and " M operations | " in line for line in lines)
    section = training.progress(RunData.of(run), Translator("en"))
    titles = [column.title for block in section.blocks if hasattr(block, "columns") for column in block.columns]
    assert {"time of the pass", "operations", "operations/s"} <= set(titles)


def test_describe_and_a_run_count_the_same_step(course: tuple[Run, dict]) -> None:
    """All but the first: where SGD has no momentum yet."""
    run, result = course
    found = training_step(run.experiment(), (3, 32, 32), 10)
    assert found["ops"]["total"] == result["step_ops"]


@pytest.mark.slow  # a second of processor time: it computes
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_so_they_do_with_other_optimizers(tmp_path: Path, optimizer: str) -> None:
    experiment: Experiment = small(optimizer=optimizer, lr=0.001, epochs=1, net="compact", train_images=40)
    run = Run.open(tmp_path / "runs", experiment)
    result = finish(run)
    found = training_step(run.experiment(), (3, 32, 32), 10)
    assert found["ops"]["total"] == result["step_ops"]


def test_an_operator_that_can_not_be_counted_stops_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> Operations:
        raise ValueError("no rule for this")

    monkeypatch.setitem(registry.RULES, "mul", broken)
    work, x = StepWork(1), torch.ones(3)
    step = work.begin(lambda batch: {"loss": (batch * 2).sum()})
    assert [float(step(x)["loss"]) for _ in range(3)] == [6.0, 6.0, 6.0]
    assert work.ops_of_a_step is None and "epoch_ops" not in work.of(3, 1.0).figures()


def test_a_replayed_step_is_counted_before_it_is_recorded() -> None:
    """Past the recorder, whose own first step settles what is compiled; the next one is recorded."""
    done: list[str] = []

    def ordinary(batch: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
        done.append("step")
        return {"loss": (batch[0] * 2).sum()}

    def record(once: Callable[[], None]) -> Callable[[], None]:
        done.append("record")
        return once

    steps, work = ReplayedSteps(ordinary, Clock(), record), StepWork(2)
    step = work.begin(steps, ordinary)
    batch = (torch.ones(3),)
    assert float(step(batch)["loss"]) == 6.0
    assert not steps.replays and done == ["step"]
    assert work.ops_of_a_step == 2 * (3 + 2), "two processes: three products and two sums each"


def test_the_three_levels_are_drawn_as_levels(course: tuple[Run, dict]) -> None:
    run, _ = course
    section = training.rates(RunData.of(run), Translator("en"))
    assert section is not None
    (plot,) = [block for block in section.blocks if isinstance(block, Plot)]
    (line,) = plot.lines
    assert line.levels
    # 50 %, 25 % and 25 % of four passes of ten steps: both ends of each jump are known.
    levels = {rate: [x for x, y in line.points if y == pytest.approx(rate)] for rate in (0.01, 0.001, 0.0001)}
    assert (levels[0.01][0], levels[0.01][-1]) == (0.0, 2.0)
    assert (levels[0.001][0], levels[0.001][-1]) == (2.1, 3.0)
    assert (levels[0.0001][0], levels[0.0001][-1]) == (3.1, 4.0)
    drawn = plots.svg(plot, Translator("en"))
    path = max(drawn.split("<path ")[1:], key=lambda part: part.count("L "))
    corners = [
        tuple(map(float, p.split()[:2])) for p in path.split('d="')[1].split('"')[0].replace("M", "L").split("L")[1:]
    ]
    slanted = [(a, b) for a, b in itertools.pairwise(corners) if a[0] != b[0] and abs(a[1] - b[1]) > 0.01]
    assert not slanted, "only level and upright strokes"


def test_a_slope_stays_a_slope(tmp_path: Path) -> None:
    run = made(tmp_path, epochs=2, schedule="linear")
    finish(run)
    section = training.rates(RunData.of(run), Translator("en"))
    assert section is not None
    (plot,) = [block for block in section.blocks if isinstance(block, Plot)]
    assert not plot.lines[0].levels


def test_the_spread_of_a_peak_is_that_of_its_slow_tries() -> None:
    assert peak_flops.spread([1.0, 1.0, 1.0]) == 1.0
    assert peak_flops.spread([1.0] * 19 + [50.0]) == 1.0, "a single hiccup is none"
    assert peak_flops.spread([1.0] * 5 + [25.0] * 15) == 25.0
    found = peak_flops.peak(torch.device("cpu"), torch.float32)
    assert found["spread"] >= 1.0 and found["gflops_per_second"] > 0


@pytest.mark.slow  # some seconds of processor time: eight short trainings
@pytest.mark.parametrize("warmup", [0.0, 0.2])
@pytest.mark.parametrize("schedule", ["constant", "steps", "linear", "cosine"])
def test_the_rate_is_drawn_as_it_was_used(tmp_path: Path, schedule: str, warmup: float) -> None:
    run = made(tmp_path, epochs=5, schedule=schedule, warmup=warmup)
    used: list[float] = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: used.append(float(optimizer.param_groups[0]["lr"])))
    try:
        finish(run)
    finally:
        hook.remove()
    section = training.rates(RunData.of(run), Translator("en"))
    assert section is not None
    (plot,) = [block for block in section.blocks if isinstance(block, Plot)]
    (line,) = plot.lines
    a_pass = 10
    used = used[: 5 * a_pass]  # not the step that is counted at the end
    # Between two points the curve is straight, or it stands at the second one's level.
    for (x0, y0), (x1, y1) in itertools.pairwise(line.points):
        for step in range(round(x0 * a_pass) + 1, round(x1 * a_pass) + 1):
            share = (step / a_pass - x0) / (x1 - x0)
            drawn = y1 if line.levels else y0 + share * (y1 - y0)
            assert drawn == pytest.approx(used[step - 1], abs=0.04 * max(used)), (step, line.points)
    assert max(y for _, y in line.points) == pytest.approx(max(used), rel=1e-9), "the highest rate is drawn"
