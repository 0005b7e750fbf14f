"""A program's network, counted before its first step."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganhpc.runs.run_folder import State
from tests.program.local_runs import ends_in, job, made, segment
from tests.waiting import wait_for

NETWORK = """
import torch
def measured(): return torch.nn.Linear(10, 5), torch.zeros(1, 10)
def wrong(): return 3
def slow():
    import time
    open("counts", "w").close(); print("x" * 100, flush=True); time.sleep(600)
def ends():
    import os
    os._exit(3)
def ends_well():
    import os
    os._exit(0)
def odd_shape(): return torch.nn.Linear(10, 5), torch.zeros(1, 3)
def nothing(): return torch.nn.Linear(10, 5), None
"""


@pytest.mark.slow  # processes that load torch
def test_the_network_is_counted_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    run = made(tmp_path, "true", measure="net:measured", budget_params=60)
    assert segment(run).returncode == 0, run.log.read_text()
    result = run.result()
    assert result is not None
    assert (result["params"], result["macs"], result["budget_params"]) == (55, 50, 60)
    refused = made(tmp_path, "touch", "begun", measure="net:measured", budget_params=50)
    assert segment(refused).returncode == 2
    assert refused.run_status().state is State.REFUSED and "55" in refused.run_status().reason
    wrong = made(tmp_path, "touch", "begun", measure="net:wrong")
    assert segment(wrong).returncode == 2 and "--measure net:wrong failed" in wrong.run_status().reason
    assert not (tmp_path / "begun").exists()


@pytest.mark.slow  # processes that load torch
def test_a_count_that_does_not_end_is_ended(tmp_path: Path) -> None:
    """By a stop request, which leaves the run as it stands; and by the end of its job, which would find the next one no quicker."""
    (tmp_path / "net.py").write_text(NETWORK)
    run = made(tmp_path, "touch", "begun", measure="net:slow")
    for state, code in ((State.LOST, 75), (State.REFUSED, 2)):
        with job(run, 600.0) as runner:
            wait_for((tmp_path / "counts").exists)
            if state is State.LOST:
                run.ask_holder_to_stop("enough")
            else:
                ends_in(run, 5.0)
            assert runner.wait(120) == code, run.log.read_text()
        found = run.run_status()
        assert found.state is state and ("enough" if code == 75 else "did not end before its job") in found.reason
        assert "x" * 100 in run.log.read_text()
        (tmp_path / "counts").unlink()
    for name, said in (
        ("ends", "--measure net:ends ended with exit code 3 before the network was counted"),
        ("ends_well", "--measure net:ends_well ended with exit code 0 before the network was counted"),
        ("odd_shape", "the network can't be counted with its example input (RuntimeError: "),
        ("nothing", "returns NoneType as example input"),
    ):
        ends = made(tmp_path, "touch", "begun", measure=f"net:{name}", budget_params=10**6)
        assert segment(ends).returncode == 2 and said in ends.run_status().reason, ends.run_status().reason
    assert not (tmp_path / "begun").exists()
