"""Rows and groups, against figures worked out by hand and folders that someone damaged."""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganhpc.analysis.results import rows as results
from ganhpc.core.errors import UserError
from ganhpc.core.files import write_json
from ganhpc.runs.run_folder import Run, State
from jobs.cifar import Cifar
from tests.run_folders import done, stopped

STATES = {state.value for state in State}


# -- rows ---------------------------------------------------------------------------------------------------------------


def test_every_row_has_the_promised_keys_and_a_documented_state(tmp_path: Path) -> None:
    done(tmp_path, 0.6)
    write_json(Run.open(tmp_path, Cifar(seed=1)).request_json, {"jobs": [{"tag": "t", "job_id": "7", "segment": 1}]})
    stopped(tmp_path, "crashed", "the loss is not finite", seed=2)
    Run.open(tmp_path, Cifar(seed=3))
    found = {row["seed"]: row for row in results.rows(tmp_path)}
    assert all(set(results.KEYS) <= set(row) for row in found.values())
    assert [found[seed]["state"] for seed in range(4)] == ["done", "waiting", "crashed", "new"]
    assert found[0]["weights_sha256"] and found[0]["folder"] == str(Run.open(tmp_path, Cifar()).folder)
    crashed = found[2]
    assert (crashed["reason"], crashed["train_seconds"], crashed["test_accuracy"]) == (
        "the loss is not finite",
        150.0,
        0.25,
    )
    assert crashed["params"] is None and crashed["device"] is None and crashed["budget_seconds"] == 3600.0
    assert "lr" not in crashed, "the learning rate of a moment is not the definition's"


def test_a_run_that_is_held_is_running(tmp_path: Path) -> None:
    run = stopped(tmp_path, "running")
    assert results.row(run)["state"] == "lost"
    with run.hold():
        assert results.row(run)["state"] == "running"


def test_a_finished_run_costs_one_file(tmp_path: Path) -> None:
    """Its definition and status may even be gone."""
    run = done(tmp_path, 0.6)
    run.experiment_json.unlink()
    (row,) = results.rows(tmp_path)
    assert row["state"] == "done" and row["test_accuracy"] == 0.6


def test_a_renamed_folder_goes_by_its_new_name(tmp_path: Path) -> None:
    run = done(tmp_path, 0.6)
    run.folder.rename(run.folder.with_name("mine"))
    assert [row["run"] for row in results.rows(tmp_path)] == ["mine"]


@pytest.mark.parametrize("file", ["result.json", "experiment.json", "status.json"])
@pytest.mark.parametrize("damage", [b"{", b'{"test_acc', b"[]", b"", b"\xff\xfe", b"null", b"[" * 100_000])
def test_a_damaged_file_hides_no_other_run(tmp_path: Path, file: str, damage: bytes) -> None:
    good, bad = done(tmp_path, 0.6), stopped(tmp_path, "resumable", seed=1)
    (bad.folder / file).write_bytes(damage)
    found = {row["run"]: row for row in results.rows(tmp_path)}
    assert found[good.name]["test_accuracy"] == 0.6
    row = found[bad.name]
    assert row["experiment"] == "cifar"
    if file == "status.json":  # the other files tell where it stands
        assert row["state"] == ("resumable" if bad.has_checkpoint() else "new")
    else:
        assert row["state"] == "refused" and "read" in row["reason"]


@pytest.mark.parametrize(
    ("file", "tree"),
    [("status.json", {"state": "gone"}), ("status.json", {"state": ["done"]}), ("status.json", {"state": "crashed", "last": 3}),
     ("status.json", {"state": "running", "time": "noon", "host": "far"}), ("experiment.json", {}), ("result.json", {}),
     ("experiment.json", {"format": 1, "budget": 7, "group": [1], "seed": {}}), ("result.json", {"test_accuracy": "high", "group": []})],
)  # fmt: skip
def test_files_with_other_content_still_make_a_row_and_a_group(
    tmp_path: Path, file: str, tree: dict[str, object]
) -> None:
    done(tmp_path, 0.6)
    run = stopped(tmp_path, "resumable", seed=1)
    run.lock.touch()
    (run.folder / file).write_text(json.dumps(tree))
    found = results.rows(tmp_path)
    assert len(found) == 2 and {row["state"] for row in found} <= STATES
    assert sum(len(group["runs"]) for group in results.grouped(found)) == 2
    assert len(results.with_several_seeds(found)) == 2


def test_a_run_of_an_older_format_does_not_promise_to_go_on(tmp_path: Path) -> None:
    run = stopped(tmp_path, "resumable")
    run.experiment_json.write_text(json.dumps({**Cifar().to_json(), "format": 0}))
    row = results.row(run)
    assert row["state"] == "refused" and "format 0" in row["reason"] and row["variant"] == "default"
    write_json(run.result_json, {"test_accuracy": 0.6})
    assert results.row(run)["state"] == "done", "a result reads the same in every format"


def test_foreign_folders_and_files_are_left_out_with_a_warning(tmp_path: Path) -> None:
    done(tmp_path, 0.6)
    (tmp_path / "cifar" / "notes").mkdir()
    (tmp_path / "cifar" / "todo.txt").touch()
    (tmp_path / "readme").touch()
    (tmp_path / ".cache" / "x").mkdir(parents=True)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    heard: list[str] = []
    assert len(results.rows(tmp_path, heard.append)) == 1
    assert len(heard) == 1 and "notes" in heard[0] and "1 folder " in heard[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_closed_folder_hides_no_other(tmp_path: Path) -> None:
    done(tmp_path, 0.6)
    closed = tmp_path / "private"
    closed.mkdir(mode=0)
    heard: list[str] = []
    try:
        assert len(results.rows(tmp_path, heard.append)) == 1
    finally:
        closed.chmod(0o700)
    assert "private" in heard[0]


def test_the_folder_of_an_experiment_or_of_a_run_serves_as_well(tmp_path: Path) -> None:
    run = done(tmp_path, 0.6)
    for folder in (tmp_path, tmp_path / "cifar", run.folder):
        assert [row["run"] for row in results.rows(folder)] == [run.name]


def test_runs_that_are_not_there(tmp_path: Path) -> None:
    assert results.rows(tmp_path / "none") == [] == results.rows(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--runs DIR"):
        results.rows(tmp_path / "file")
    with pytest.raises(UserError, match="not a run folder"):
        results.row(Run(tmp_path))


def test_numbers_that_json_does_not_know_become_unknown(tmp_path: Path) -> None:
    run = done(tmp_path, 0.6)
    run.result_json.write_text('{"test_accuracy": NaN, "test_loss": Infinity, "params": 1' + "0" * 400 + "}")
    row = results.row(run)
    assert row["test_accuracy"] is None and row["test_loss"] is None
    assert "params" not in results.grouped([row])[0], "beyond what a float holds"


# -- groups -------------------------------------------------------------------------------------------------------------


def test_groups_agree_with_a_hand_computation(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.60, 0.62, 0.67)):
        done(tmp_path, accuracy, seed=seed)
    done(tmp_path, 0.9, lr=0.5)
    stopped(tmp_path, "crashed", seed=3)
    three, one = sorted(results.grouped(results.rows(tmp_path)), key=lambda row: -row["n"])
    assert (three["n"], one["n"]) == (3, 1)
    assert three["test_accuracy"]["mean"] == pytest.approx(0.63)
    assert three["test_accuracy"]["std"] == pytest.approx(math.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2))
    assert three["test_accuracy"]["cv"] == pytest.approx(three["test_accuracy"]["std"] / 0.63)
    assert one["test_accuracy"] == {"n": 1, "mean": 0.9, "std": None, "cv": None}
    assert three["states"] == {"done": 3, "crashed": 1} and three["state"] is None and one["state"] == "done"
    assert sorted(three["seeds"]) == [0, 1, 2, 3] and len(three["runs"]) == len(three["folders"]) == 4
    assert three["device"] == "AMD EPYC, 2 cores" and three["budget_seconds"] == 300.0


def test_an_exact_repetition_counts_once(tmp_path: Path) -> None:
    done(tmp_path, 0.6)
    done(tmp_path, 0.6, new=True)
    (one,) = results.grouped(results.rows(tmp_path))
    assert one["n"] == 1 and len(one["runs"]) == 2
    done(tmp_path, 0.7, new=True)  # the same seed and other weights: a repetition that says something
    (two,) = results.grouped(results.rows(tmp_path))
    assert two["n"] == 2 and two["test_accuracy"]["mean"] == pytest.approx(0.65)


def test_a_measure_that_only_some_runs_have_says_how_many(tmp_path: Path) -> None:
    done(tmp_path, 0.6, figures={"fid": 20.0})
    done(tmp_path, 0.7, seed=1)
    (group,) = results.grouped(results.rows(tmp_path))
    assert group["fid"] == {"n": 1, "mean": 20.0, "std": None, "cv": None} and group["test_accuracy"]["n"] == 2


def test_several_seeds_become_one_row_and_the_others_stay(tmp_path: Path) -> None:
    for seed in range(2):
        done(tmp_path, 0.6 + seed / 10, seed=seed)
    done(tmp_path, 0.9, lr=0.5)
    stopped(tmp_path, "crashed", seed=2)
    found = results.with_several_seeds(results.rows(tmp_path))
    assert sorted(str(row.get("n")) for row in found) == ["2", "None", "None"]
    (group,) = [row for row in found if "n" in row]
    assert sorted(group["seeds"]) == [0, 1] and group["state"] == "done"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_statistics_agree_with_the_standard_library(values: list[float]) -> None:
    made = results.statistics(values)
    assert made["mean"] == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert made["std"] == pytest.approx(statistics.stdev(values), abs=1e-6)
    assert made["cv"] is None if made["mean"] == 0 else made["cv"] == pytest.approx(made["std"] / abs(made["mean"]))


def test_the_collector_is_left_as_it_was(tmp_path: Path) -> None:
    import gc

    run = done(tmp_path, 0.6)
    assert gc.isenabled() and results.rows(tmp_path) and gc.isenabled()
    shutil.rmtree(run.folder)
    (tmp_path / "file").touch()
    with pytest.raises(UserError):
        results.rows(tmp_path / "file")
    assert gc.isenabled()


def test_a_result_without_a_step_is_no_finished_run(tmp_path: Path) -> None:
    run = done(tmp_path, 0.1, figures={"epochs": 0.0, "steps": 0})
    part = done(tmp_path, 0.2, figures={"epochs": 0.004, "steps": 1}, seed=1)
    states = {row["run"]: (row["state"], bool(row["reason"])) for row in results.rows(tmp_path)}
    assert states == {run.name: ("refused", True), part.name: ("done", False)}
    assert (run.run_status().state, part.run_status().state) == (State.REFUSED, State.DONE)
    assert "longer --time" in run.run_status().reason


@pytest.mark.parametrize("renamed", [False, True])
def test_a_result_that_was_copied_from_another_run_is_no_result_of_this_one(tmp_path: Path, renamed: bool) -> None:
    """The figures of seed 1 would stand in the tables as those of seed 2 for ever."""
    theirs = done(tmp_path, 0.6, seed=1)
    tree = {**json.loads(theirs.result_json.read_text()), "signature": theirs.experiment().signature}
    write_json(theirs.result_json, tree)
    run = stopped(tmp_path, "resumable", "SIGINT at the launcher", seed=2)
    if renamed:
        run = Run(run.folder.rename(run.folder.with_name("mine")))
        theirs = Run(theirs.folder.rename(theirs.folder.with_name("theirs")))
    shutil.copy(theirs.result_json, run.result_json)
    found = {row["folder"]: row for row in results.rows(tmp_path)}
    made = found[str(run.folder)]
    assert (made["state"], made["test_accuracy"]) == ("refused", None) and "another run" in made["reason"]
    assert found[str(theirs.folder)]["state"] == "done"
    said = run.run_status()
    assert said.state is State.REFUSED and "result.json is that of another run: move it away" in said.reason
    assert theirs.run_status().state is State.DONE
    run.result_json.unlink()
    assert run.run_status().state is State.RESUMABLE
