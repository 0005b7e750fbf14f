"""What stands on the screen at the end of a run: figures, folder, commands that can be typed as they stand."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import click
import pytest
from rich.console import Console

from ganhpc.cli.commands.describe import command as describe_command
from ganhpc.cli.views.run_summary import show_run
from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.runs.known_experiments import find, names
from ganhpc.runs.run_folder import Run
from jobs.cifar import Cifar
from tests.conftest import Launch
from tests.run_folders import done, stopped


def screen(run: Run, width: int = 100) -> str:
    """What `show_run` prints in a window of this width."""
    text = io.StringIO()
    show_run(run, Console(file=text, width=width, highlight=False))
    return text.getvalue()


def fields(text: str) -> dict[str, str]:
    """The words beside each name, folded lines joined."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        name = line[:13].strip() or name
        found[name] = " ".join(filter(None, [found.get(name, ""), line[13:].strip()]))
    return found


@pytest.mark.parametrize("width", [80, 120])
def test_a_finished_run_shows_its_outcome(tmp_path: Path, width: int) -> None:
    words = {
        "network": "compact 16-32-48",
        "why": "53,680 trainable parameters of 256,000",
        "budget_params": 256_000,
        "frozen_params": 1_040,
    }
    run = done(tmp_path, 0.6, figures=words)
    text = screen(run, width)
    shown = fields(text)
    assert shown["test accuracy"] == "60.00 % with test-time augmentation, 50.00 % without"
    assert shown["measures"] == "test_loss 1.25"
    assert shown["network"] == "compact 16-32-48: 53,680 trainable parameters of 256,000"
    assert shown["parameters"] == "62,006 of 256,000; 1,040 more are frozen"
    assert shown["operations"] == "1.31 M an image, forward (652 k MACs)"
    assert shown["time"] == "4m58s of 5m (99.2%), in 2 segments"
    assert (
        shown["where it went"]
        == "data 1.0%, forward 29.6%, backward 50.4%, optimizer 6.7%, evaluation 10.1%, checkpoint 0.7%, other 1.5%"
    )
    assert shown["epochs"] == "12 of 12 planned, 20 images a step"
    assert shown["speed"] == "1,006 images/s; 3.257 GFLOP/s in whole training steps, 1.322 of them forward"
    assert shown["machine"] == "AMD EPYC, 2 cores; torch 2.14.0, Python 3.11.2, ganhpc 0.1.0, commit f32e181"
    assert shown["folder"] == str(run.folder)
    for command in (
        "python launch.py results ",
        "python launch.py describe cifar ",
        f"python launch.py board {run.folder} ",
        "--new",
    ):
        assert any(command in line for line in text.splitlines()), "commands are not folded"


def test_classes_come_best_first(tmp_path: Path) -> None:
    run = done(tmp_path, 0.6)
    write_json(run.evaluation_json, {"accuracy_by_class": {"cat": 0.31, "ship": 0.8, "dog": 0.555}})
    assert fields(screen(run))["by class"] == "ship 80.00 %, dog 55.50 %, cat 31.00 %"
    run.evaluation_json.write_text("{")
    assert "by class" not in fields(screen(run))


def test_without_augmentation_there_is_one_accuracy(tmp_path: Path) -> None:
    assert fields(screen(done(tmp_path, 0.6, figures={"tta": "none"})))["test accuracy"] == "60.00 %"


def test_a_result_with_fewer_fields_shows_what_it_has(tmp_path: Path) -> None:
    run = done(tmp_path, 0.6)
    write_json(run.result_json, {"fid": 12.5, "train_seconds": 3.0})
    shown = fields(screen(run))
    assert shown["measures"] == "fid 12.5" and shown["time"] == "3s" and shown["machine"] == "unknown"
    assert "test accuracy" not in shown and "parameters" not in shown


def test_the_folder_is_short_from_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = done(tmp_path / "my runs", 0.6)
    monkeypatch.chdir(tmp_path)
    text = screen(run, 60)
    assert f"my runs/cifar/{run.name}" in text and f"python launch.py board 'my runs/cifar/{run.name}' " in text


def described(text: str) -> dict[str, object]:
    """What the proposed describe command is asked for; raises where it would not take it."""
    line = next(line for line in text.splitlines() if "launch.py describe" in line)
    words = shlex.split(line.partition("launch.py describe ")[2].partition("   the network")[0])
    context = describe_command.get_command(describe_command.make_context("describe", []), words[0]).make_context(
        "cifar", words[1:]
    )  # type: ignore[union-attr, attr-defined]
    return {name: value for name, value in context.params.items() if value not in (None, False)}


def test_describe_is_asked_for_this_very_network(tmp_path: Path) -> None:
    run = done(tmp_path, 0.6, preset="course", conv=(8, 16), batch_norm=True, lr=0.3)
    asked = described(screen(run))
    assert asked == {"preset": "course", "conv": (8, 16), "batch_norm": True}
    plain = done(tmp_path, 0.6, seed=5, lr=0.3)
    assert described(screen(plain)) == {}


def test_describe_is_told_what_auto_stood_for(tmp_path: Path) -> None:
    run = done(tmp_path, 0.6)
    write_json(run.choices_json, {"channels": [16, 32, 48], "network": "compact 16-32-48", "why": "it fits"})
    assert described(screen(run)) == {"net": "compact", "channels": (16, 32, 48)}


def test_describe_of_a_definition_that_this_version_cannot_read(tmp_path: Path) -> None:
    run = done(tmp_path, 0.6)
    run.experiment_json.write_text(json.dumps({"format": 0}))
    assert "describe cifar --preset default " in screen(run)


def test_an_unfinished_run_shows_its_state_and_where_it_stands(tmp_path: Path) -> None:
    run = stopped(tmp_path, "crashed", "the loss is [not] finite")
    shown = fields(screen(run))
    assert shown["state"] == "crashed: the loss is [not] finite"
    assert shown["stands at"] == "epoch 6 of 12, 2m30s of 1h" and shown["last accuracy"] == "25.00 %"
    assert "next" not in shown and shown["folder"].endswith(f"/cifar/{run.name}")
    waiting = Run.open(tmp_path, Cifar(seed=1))
    assert fields(screen(waiting))["state"] == "new: not started"


def test_a_damaged_run_says_so_and_a_foreign_folder_is_a_sentence(tmp_path: Path) -> None:
    run = done(tmp_path, 0.6)
    run.result_json.write_text("{")
    assert fields(screen(run))["state"].startswith("refused: result.json can't be read")
    with pytest.raises(UserError, match="not a run folder"):
        screen(Run(tmp_path))


@pytest.mark.slow  # 11 s of processor time: processes of its own
def test_what_must_fail_again_is_not_proposed_again(launch: Launch, tmp_path: Path) -> None:
    words = (
        "cifar",
        "--preset",
        "course",
        "--data",
        "synthetic",
        "--train-images",
        "200",
        "--epochs",
        "1",
        "--on",
        "local",
    )
    failed = launch(*words, "--lr", "1e30", "--runs", tmp_path / "own runs", OMP_NUM_THREADS="1")
    said = failed.stdout + failed.stderr
    assert failed.returncode == 4 and "non-finite" in said and "to go on" not in said
    done = launch(*words, "--runs", tmp_path / "own runs", OMP_NUM_THREADS="1")
    assert f"python launch.py results --runs '{tmp_path}/own runs'" in done.stdout


@pytest.mark.parametrize("name", [name for name in names() if not find(name).TAKES_COMMAND])
def test_the_describe_command_of_a_run_counts_the_step_that_it_made(name: str, tmp_path: Path) -> None:
    """Its options are those that shape networks and steps, the batch size among them, and `describe` takes them all."""
    cls = find(name)
    experiment = cls().replace(batch_size=cls().batch_size + 8)
    run = Run.open(tmp_path, experiment)
    write_json(run.result_json, {"experiment": name, "preset": "default"})
    (line,) = [line for line in screen(run, 300).splitlines() if "launch.py describe" in line]
    words = shlex.split(line.partition("describe ")[2].split("   ")[0])
    assert words[0] == name and words[words.index("--batch-size") + 1] == str(experiment.batch_size)
    command = describe_command.get_command(click.Context(describe_command), name)
    assert command is not None
    command.make_context(name, words[1:])
