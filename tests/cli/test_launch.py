"""`python launch.py cifar` as a user meets it: finished, found again, interrupted, killed, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ganhpc.runs.run_folder import Run, State
from tests.conftest import ROOT, Launch
from tests.helpers import small

SMALL = ["cifar", "--preset", "course", "--data", "synthetic", "--train-images", "200", "--device", "cpu"]
LONG = [*SMALL, "--epochs", "5000"]


def only_run(folder: Path) -> Run:
    (run,) = Run.all(folder / "runs")
    return run


def start(folder: Path, words: list[str], **env: str) -> subprocess.Popen[str]:
    """The launcher in a session of its own, so that a signal reaches it as Ctrl-C on a terminal would."""
    command = [sys.executable, str(ROOT / "launch.py"), *words]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def trained(folder: Path, step: int) -> bool:
    runs = list(Run.all(folder / "runs"))
    return bool(runs) and runs[0].has_checkpoint() and runs[0].status().get("step", 0) >= step


@pytest.mark.slow
def test_a_run_ends_is_found_again_and_new_makes_another(launch: Launch) -> None:
    words = [*SMALL, "--epochs", "2"]
    first = launch(*words, "--json")
    assert first.returncode == 0, first.stderr
    (row,) = json.loads(first.stdout)
    assert row["state"] == "done" and row["epochs"] == 2 and len(row["weights_sha256"]) == 64
    assert "epoch 1 of 2" in first.stderr, "without a terminal: plain lines, one an epoch"
    again = launch(*words)
    assert again.returncode == 0 and "already done" in again.stdout and "62,006" in again.stdout
    third = launch(*words, "--new", "--json")
    (other,) = json.loads(third.stdout)
    assert other["run"] == row["run"] + "-2"
    assert other["weights_sha256"] == row["weights_sha256"], "the same definition makes the same weights on CPU"
    seeds = launch(*words, "--seeds", "2", "--json")
    assert [r["seed"] for r in json.loads(seeds.stdout)] == [0, 1]
    listed = json.loads(launch("results", "--json").stdout)
    assert len(listed) == 3
    wanted = "experiment variant run state test_accuracy params macs train_seconds budget_seconds epochs images_per_second device folder weights_sha256"
    assert set(wanted.split()) <= set(listed[0])
    (group,) = json.loads(launch("results", "--group", "--json").stdout)
    assert group["n"] == 2, "a seed that was trained twice counts once"
    assert set(group["test_accuracy"]) == {"n", "mean", "std", "cv"}


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["launcher", "session"])
def test_kill_9_at_any_moment_then_the_same_command_ends_bit_identical(
    launch: Launch, tmp_path: Path, whom: str
) -> None:
    words = [*SMALL, "--epochs", "60", "--checkpoint-every", "0.1s"]
    reference = json.loads(launch(*words, "--json", "--runs", "whole").stdout)[0]
    # It goes no further than a few steps before its end: a quick machine is through them before the test has looked.
    hook = {"HOOK_AT": "ganhpc.train.loop.trainer:Trainer._step", "HOOK_DO": "wait", "HOOK_AFTER": "590"}
    path = os.pathsep.join((str(ROOT / "tests" / "hooked"), str(ROOT)))
    child = start(tmp_path, words, PYTHONPATH=path, HOOK_MARK=str(tmp_path / "mark"), **hook)
    wait_for(lambda: trained(tmp_path, 30))
    trainer = only_run(tmp_path).status()["pid"]
    if whom == "launcher":
        child.kill()
    else:
        os.kill(trainer, signal.SIGKILL)
    said, _ = child.communicate(timeout=120)
    wait_for(lambda: not lives(trainer))  # the trainer dies with its launcher
    # The last of its threads may end a moment after the one that the process is known by.
    wait_for(lambda: not only_run(tmp_path).is_held())
    assert only_run(tmp_path).run_status().state is State.RESUMABLE
    if whom == "session":
        assert "killed" in said and "to go on: python launch.py cifar" in said and "Traceback" not in said
    done = launch(*words, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["weights_sha256"] == reference["weights_sha256"]
    assert row["segments"] == 2


@pytest.mark.slow
def test_ctrl_c_saves_and_prints_the_command_that_resumes(launch: Launch, tmp_path: Path) -> None:
    child = start(tmp_path, [*LONG, "--new"])
    wait_for(lambda: trained(tmp_path, 1))
    second = launch(*LONG)
    assert second.returncode == 3 and "already running" in second.stderr, (
        "two launches of the same run: the second says so"
    )
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 130
    (resume,) = [line for line in said.splitlines() if line.startswith("to go on: ")]
    assert resume == "to go on: python launch.py " + " ".join(LONG), "without --new"
    assert only_run(tmp_path).run_status().state is State.RESUMABLE
    saved = only_run(tmp_path).status()["step"]
    assert max(only_run(tmp_path).checkpoints.glob("*.pt")).stem == f"step-{saved:010d}"


@pytest.mark.slow  # 8 s in all
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--time", "-5m"], "'-5m' is not a time"),
        (["--time", "0s"], "more than zero"),
        (["--time", "soon"], "90s, 5m, 1h, 1h30"),
        (["--time", "60"], "60s, 60m or 60h"),
        (["--budget-params", "-3"], "256k"),
        (["--budget-params", "0"], "above zero"),
        (["--budget-params", "lots"], "not a count"),
        (["--preset", "tutoriel"], "did you mean 'tutorial'"),
        (["--data", "cifar100"], "did you mean 'cifar10'"),
        (["--epochs", "0"], "from 1"),
        (["--batch-size", "x"], "a whole number from 1"),
        (["--lr", "nan"], "a number of at least 0, not 'nan'"),
        (["--nodes", "2"], "needs a scheduler"),
        (["--flip", "sideways"], "alternate, none, random"),
        (["--bogus"], "--help"),
        (["--seeds", "0"], "--help"),
        (["--train-images", "5", "--epochs", "1", "--data", "synthetic"], "takes 10 to"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(launch: Launch, words: list[str], sentence: str) -> None:
    done = launch("cifar", "--device", "cpu", *words)
    assert done.returncode == 2
    assert sentence in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_unknown_words_name_the_nearest(launch: Launch) -> None:
    done = launch("cifra")
    assert done.returncode == 2 and "did you mean 'cifar'" in done.stderr


@pytest.mark.slow
def test_a_network_over_budget_is_refused_with_its_largest_layers(launch: Launch, tmp_path: Path) -> None:
    done = launch(*SMALL, "--epochs", "1", "--budget-params", "60k")
    assert done.returncode == 2
    assert "62,006" in done.stdout and "48,120" in done.stdout and "Traceback" not in done.stdout
    assert only_run(tmp_path).run_status().state is State.REFUSED


@pytest.mark.slow
def test_a_run_of_an_older_version_is_refused_and_kept(launch: Launch, tmp_path: Path) -> None:
    run = Run.open(tmp_path / "runs", small(epochs=1))
    tree = json.loads(run.experiment_json.read_text())
    run.experiment_json.write_text(json.dumps({**tree, "format": 0}))
    words = ["--flip", "random", "--crop", "2", "--epochs", "1"]
    done = launch(*SMALL, *words)
    assert done.returncode == 2 and "format 0" in done.stderr and "--new" in done.stderr
    assert launch(*SMALL, *words, "--new").returncode == 0


def test_a_dry_run_writes_nothing(launch: Launch, tmp_path: Path) -> None:
    done = launch(*SMALL, "--dry-run", "--json")
    plan = json.loads(done.stdout)["runs"][0]
    assert plan["state"] == "new" and "ganhpc.train" in plan["command"] and plan["definition"]["batch_size"] == 20
    assert list(tmp_path.iterdir()) == []


def test_help_lists_experiments_and_verbs_and_every_option(launch: Launch) -> None:
    overview = launch("--help").stdout
    overview = overview[overview.index("Experiments") :]
    assert overview.index("cifar") < overview.index("Verbs") < overview.index("results")
    text = " ".join(launch("cifar", "--help").stdout.split())
    common = "--time --epochs --budget-params --preset --data --data-root --train-images --batch-size --lr --seed --seeds --name --runs --device --nodes --gpus-per-node --tasks-per-node --new --dry-run --json"
    for option in common.split():
        assert f" {option} " in text, option
    assert "[default: 1h]" in text and "(pixels)" in text


@pytest.mark.parametrize("words", [["--help"], ["cifar", "--help"], ["results"], ["cifar", "--dry-run"]])
def test_the_login_side_never_imports_torch(tmp_path: Path, words: list[str]) -> None:
    code = f"import sys; sys.argv = ['launch.py', *{words!r}]; sys.path.insert(0, {str(ROOT)!r})\nfrom ganhpc.cli.main import main\ntry:\n    main()\nexcept SystemExit:\n    pass\nsys.stderr.write('torch' if 'torch' in sys.modules else 'light')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr.endswith("light"), done.stderr


def test_a_home_in_the_name_of_a_folder_is_the_home(launch: Launch, tmp_path: Path) -> None:
    """bash leaves the ~ of --runs=~/runs as it is, and that of a variable in quotes: runs were made in a folder called ~."""
    for words, variables in ((["--runs=~/own"], {}), ([], {"GANHPC_RUNS": "~/own"})):
        done = launch("status", *words, HOME=str(tmp_path), **variables)
        assert done.returncode == 0 and f"no runs in {tmp_path}/own:" in "".join(done.stdout.splitlines()), done.stdout
        assert ("--runs" in done.stdout) == bool(words)
    unknown = launch("status", "--runs=~nosuch-user/own")
    assert unknown.returncode == 2 and "below a home that this machine doesn't know" in unknown.stderr
    (tmp_path / "rules.toml").write_text('base = "student"\ntitle = "mine"\n')
    assert "Policy rules: mine." in launch("policy", "~/rules.toml", HOME=str(tmp_path)).stdout
    assert launch("new", "own-one", "--into=~/own", HOME=str(tmp_path)).returncode == 0
    assert not (tmp_path / "~").exists() and (tmp_path / "own" / "own_one.py").exists()
