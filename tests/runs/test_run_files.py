"""status.json and request.json with wrong values: dropped there, refused here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ganhpc.core.errors import UserError
from ganhpc.core.files import Damaged
from ganhpc.core.settings import Settings
from ganhpc.launch.schedulers.registry import named
from ganhpc.runs.run_files import read_metrics, read_request, read_status
from ganhpc.runs.run_folder import Run, State
from jobs.cifar import Cifar


def put(path: Path, tree: Any) -> Path:
    path.write_text(json.dumps(tree))
    return path


def test_a_status_keeps_the_fields_that_hold_what_they_should(tmp_path: Path) -> None:
    tree = {
        "state": "running", "seconds": "x", "epoch": 2.5, "step": -1, "time": 1e300, "pid": True, "host": ["h"], "reason": "why", "budget_seconds": float("nan"),
        "last": {"loss": 1.0, "x": "y", "n": None}, "rates": [1], "figures": {"a": 10**400}, "unheard": 1,
    }  # fmt: skip
    found = read_status(put(tmp_path / "status.json", tree))
    assert found == {"state": "running", "epoch": 2.5, "reason": "why", "last": {"loss": 1.0}, "figures": {}}


JOB = {"tag": "t", "job_id": "7", "segment": 2}
WRONG = [
    ({"jobs": {}}, "jobs"), ({"jobs": [1]}, "jobs"), ({"jobs": [JOB] * 10_001}, "jobs"), ({"scheduler": ["os"]}, "scheduler"), ({"policy": 1}, "policy"),
    ({"cancelled": "x"}, "cancelled"), ({"submitted": -1}, "submitted"), ({"jobs": [{**JOB, "segment": "x"}]}, "segment of job 1"),
    ({"jobs": [JOB, {**JOB, "work": -1}]}, "work of job 2"), ({"jobs": [{**JOB, "start": "soon"}]}, "start of job 1"),
    ({"jobs": [{**JOB, "start": "0001-01-01T00:00:00+14:00"}]}, "start of job 1"), ({"jobs": [{**JOB, "job_id": "--all"}]}, "job_id of job 1"),
    ({"jobs": [{**JOB, "job_id": "7; rm"}]}, "job_id of job 1"), ({"jobs": [{**JOB, "job_id": 7}]}, "job_id of job 1"), ({"jobs": [{**JOB, "last": 1}]}, "last of job 1"),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "field"), WRONG)
def test_a_request_is_whole_or_refused_with_the_field(tmp_path: Path, tree: dict, field: str) -> None:
    with pytest.raises(Damaged, match=rf"\(its field {field}\)"):
        read_request(put(tmp_path / "request.json", tree))


def test_a_request_of_an_older_version_is_completed_and_one_of_a_newer_one_kept(tmp_path: Path) -> None:
    found = read_request(put(tmp_path / "request.json", {"jobs": [{"tag": "t", "job_id": None}], "later": [1]}))
    assert found["jobs"] == [
        {"tag": "t", "job_id": None, "segment": 1, "kind": "", "work": 0, "seconds": 0, "last": False}
    ]
    assert found["later"] == [1]  # type: ignore[typeddict-item]
    assert read_request(tmp_path / "none.json") == {"jobs": []}


def test_a_word_from_a_record_names_no_module() -> None:
    for word in ("base", "os", "../x", "slurm.os", ""):
        with pytest.raises(UserError, match="there is no scheduler"):
            named(word, Settings())


def test_lines_of_metrics_that_are_none_are_counted(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b'{"a": 1}\n\xff\xfe\n[1]\n{"a": NaN}\n{"cut')
    assert read_metrics(tmp_path / "m") == ([{"a": 1}, {"a": None}], 3)


def test_a_damaged_request_is_the_reason_of_its_run(tmp_path: Path) -> None:
    run = Run.open(tmp_path, Cifar(data="synthetic"))
    put(run.request_json, {"jobs": [1]})
    run_status = run.run_status()
    assert (run_status.state, run_status.damaged) == (State.REFUSED, True)
    assert run_status.reason.startswith("damaged: ") and "field jobs" in run_status.reason


@pytest.mark.parametrize(
    "change",
    [{"experiment": ["cifar"]}, {"experiment": "os"}, {"budget": []}, {"budget": {"time": "x"}}, {"lr": "x"}, {"lr": None}, {"channels": [10**9]}, {"channels": "x"},
     {"seed": True}, {"preset": "no such"}, {"preset": 1}, {"data": 7}, {"resources": {"nodes": "2"}}, {"batch_size": 1e3}, {"budget": {"time": -5.0}}],
)  # fmt: skip
def test_a_definition_of_wrong_values_is_a_sentence(tmp_path: Path, change: dict) -> None:
    run = Run.open(tmp_path, Cifar(data="synthetic"))
    put(run.experiment_json, {**json.loads(run.experiment_json.read_bytes()), **change})
    with pytest.raises(UserError):
        run.experiment()
