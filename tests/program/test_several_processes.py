"""Programs of several processes: plain or by torchrun, on one node and on two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganhpc.core.settings import ROOT
from ganhpc.program import processes
from ganhpc.program.environment import Place
from ganhpc.program.ledger import Ledger
from ganhpc.program.nodes import NodeEnd, SegmentNodes
from ganhpc.runs import file_owner, job_deadline
from ganhpc.runs.job_deadline import Bound
from ganhpc.runs.run_folder import Run, State
from tests.program.local_runs import made
from tests.waiting import wait_for

SAVES = """
import json, os, signal, sys, time
rank, folder = os.environ["RANK"], os.environ["GANHPC_CHECKPOINTS"]
told = {name: os.environ[name] for name in ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "GANHPC_RANK", "GANHPC_WORLD_SIZE", "GANHPC_SEGMENT")}
def save(*_):
    if rank == "0": time.sleep(float(sys.argv[1]))
    json.dump(told, open(f"{folder}/{rank}.json", "w"))
    sys.exit(75)
signal.signal(signal.SIGUSR1, save)
os.write(1, f"ready {rank}\\n".encode())  # in one piece, beside the other
if len(sys.argv) > 2: save()
while True: time.sleep(0.05)
"""
"""Each process saves at SIGUSR1, the first one slowly, and asks to be gone on with."""
FAILS = "import os, sys, time; os.environ['RANK'] == '1' and sys.exit('it broke' * 0 or 7); time.sleep(60)"


def runner(run: Run, *words: str, owner: str = "job", **env: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ganhpc.program.runner", str(run.folder), *words]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "GANHPC_LAUNCH": "a", file_owner.OWNER: owner, **env}
    with run.log.open("ab") as log:
        return subprocess.Popen(command, env=environ, stdout=log, stderr=log)


def both_are_ready(run: Run) -> bool:
    """Both say so in the log, in which the runners' own lines may be pieces where PYTHONUNBUFFERED is set."""
    text = run.log.read_text()
    return "ready 0\n" in text and "ready 1\n" in text


def told(run: Run, rank: int) -> dict[str, str]:
    return dict(json.loads((run.checkpoints / f"{rank}.json").read_text()))


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize("launcher", ["plain", pytest.param("torchrun", marks=pytest.mark.slow)])
def test_a_process_that_ends_first_leaves_the_others_time_to_save(tmp_path: Path, launcher: str) -> None:
    """SIGUSR1 reaches the programs, and not torchrun, which would end of it; an end with 75 is no failure to torchrun."""
    run = made(
        tmp_path, "python", "-c", SAVES, "1", launcher=launcher, stop_signal="USR1", stop_before=30.0, time=600.0
    )
    child = runner(run, "--tasks=2")
    wait_for(lambda: child.poll() is not None or both_are_ready(run), 180)
    run.ask_to_stop("enough", "job")
    assert child.wait(180) == 75, run.log.read_text()
    assert run.run_status().state is State.RESUMABLE
    for rank in (0, 1):
        seen = told(run, rank)
        assert (seen["GANHPC_RANK"], seen["LOCAL_RANK"], seen["WORLD_SIZE"]) == (str(rank), str(rank), "2")


def test_a_stop_before_torchrun_has_started_a_worker_ends_torchrun(tmp_path: Path) -> None:
    """A module in the program's folder stands for torch that is still being loaded."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        f"import time; open({str(tmp_path / 'loads')!r}, 'w'); time.sleep(600)"
    )
    run = made(tmp_path, "python", "-c", SAVES, "0", launcher="torchrun", stop_signal="USR1")
    child = runner(run, "--tasks=2")
    wait_for(lambda: (tmp_path / "loads").exists(), 180)
    run.ask_to_stop("enough", "job")
    assert child.wait(180) == 75 and "it is killed" not in run.log.read_text()


PIECES = """
import os, time
for word in ("rank ", os.environ["RANK"], " says ", "so", chr(10)) * 20:
    os.write(1, word.encode()); time.sleep(0.005)
"""


@pytest.mark.parametrize("launcher", ["plain", pytest.param("torchrun", marks=pytest.mark.slow)])
def test_no_line_of_a_process_is_in_the_midst_of_another_s(tmp_path: Path, launcher: str) -> None:
    run = made(tmp_path, "python", "-c", PIECES, launcher=launcher, time=600.0)
    assert runner(run, "--tasks=2").wait(300) == 0
    lines = run.log.read_text().splitlines()
    assert [lines.count(f"rank {rank} says so") for rank in (0, 1)] == [20, 20], lines


@pytest.mark.slow  # 4 s in all
@pytest.mark.parametrize("launcher", ["plain", pytest.param("torchrun", marks=pytest.mark.slow)])
def test_the_process_that_failed_is_named_and_not_those_that_ended_of_it(tmp_path: Path, launcher: str) -> None:
    run = made(tmp_path, "python", "-c", FAILS, launcher=launcher, time=600.0)
    assert runner(run, "--tasks=2").wait(300) == 1
    seen = run.run_status()
    assert seen.state is State.CRASHED and seen.reason.startswith("rank 1 of the program ended with exit code 7"), seen


@pytest.mark.slow  # 4 s in all
def test_one_that_is_to_be_gone_on_with_by_itself_leaves_the_others_longer_than_a_failure(tmp_path: Path) -> None:
    slow = str(processes._OTHERS_SECONDS + 0.5)
    run = made(tmp_path, "python", "-c", SAVES, slow, "by itself", stop_signal="USR1")
    assert runner(run, "--tasks=2").wait(180) == 75
    assert told(run, 0) and run.run_status().state is State.RESUMABLE


def test_torchrun_is_that_of_the_program_s_python_and_meets_at_a_port_of_its_own() -> None:
    one = processes.command_of(["/env/bin/python3.9", "train.py"], "torchrun", Place(2, port=5))
    assert one[:3] == ["/env/bin/python3.9", "-m", "torch.distributed.run"] and "--rdzv-endpoint=127.0.0.1:0" in one
    assert one[-3:] == ["ganhpc.program.worker", "/env/bin/python3.9", "train.py"]
    script = processes.command_of(["bash", "run.sh"], "torchrun", Place(1, 2, 1, "first", 5))
    assert script[0] == sys.executable and {"--node-rank=1", "--master-addr=first", "--master-port=5"} <= {*script}
    assert processes.command_of(["x"], "torchrun", Place()) == ["x"]
    assert len({processes.free_port() for _ in range(5)}) > 1


# -- two nodes --------------------------------------------------------------------------------------------------------


def two_nodes(run: Run, first: bool = True, owner: str = "job", **env: str) -> list[subprocess.Popen[bytes]]:
    """The runners of two nodes of a job, the second of which comes first: it reads what an older job has left."""
    words = ("--tasks=1", "--nodes=2", "--first=127.0.0.1", f"--port={processes.free_port()}")
    second = runner(run, *words, "--node=1", owner=owner, **env)
    time.sleep(0.3)
    return [*([runner(run, *words, "--node=0", owner=owner, **env)] if first else []), second]


def test_two_nodes_run_one_segment_with_one_account(tmp_path: Path) -> None:
    """The account is open, and one segment from `gets nowhere`: the second node, which does not keep it, draws no conclusion of its own."""
    run = made(tmp_path, "python", "-c", SAVES, "0", stop_signal="USR1", time=600.0)
    run.checkpoints.mkdir()
    old = SegmentNodes(run, Place(1, 2), "an older job")
    old.begin(Ledger(segments=7))
    run.ask_to_stop("a request to the job of before")
    Ledger(segments=1, nowhere=1, seconds=5.0).write(run)
    children = two_nodes(run)
    wait_for(lambda: both_are_ready(run), 180)
    run.ask_to_stop("enough", "job")
    assert [child.wait(180) for child in children] == [75, 75], run.log.read_text()
    for rank in (0, 1):
        seen = told(run, rank)
        assert (seen["GANHPC_RANK"], seen["LOCAL_RANK"], seen["WORLD_SIZE"]) == (str(rank), "0", "2")
        assert seen["GANHPC_SEGMENT"] == "2" and seen["MASTER_ADDR"] == "127.0.0.1"
    assert Ledger.read(run).segments == 2 and run.run_status().state is State.RESUMABLE


CHAIN = """
at=$GANHPC_CHECKPOINTS/$RANK; n=$(cat $at 2>/dev/null || echo 0); echo "rank $RANK begins at $n"
trap 'echo $n > $at; echo "rank $RANK saved $n"; exit 75' TERM
[ -e $at ] && exit 0
while :; do sleep 0.2; n=$((n + 1)); done
"""


@pytest.mark.slow  # torchrun loads torch four times
def test_a_chain_of_two_nodes_by_torchrun(tmp_path: Path) -> None:
    """Told to stop, each of its processes saves once, and both nodes end as resumable; the next segment goes on from there."""
    run = made(tmp_path, "bash", "-c", CHAIN, launcher="torchrun", time=600.0)
    children = two_nodes(run)
    wait_for(lambda: run.log.read_text().count("begins at 0\n") == 2, 300)
    run.ask_to_stop("enough", "job")
    assert [child.wait(300) for child in children] == [75, 75], run.log.read_text()
    saved = {rank: (run.checkpoints / str(rank)).read_text().strip() for rank in (0, 1)}
    assert run.run_status().state is State.RESUMABLE
    assert [child.wait(300) for child in two_nodes(run, owner="next")] == [0, 0], run.log.read_text()
    lines = run.log.read_text().splitlines()
    for rank, number in saved.items():
        assert lines.count(f"rank {rank} saved {number}") == 1 and f"rank {rank} begins at {number}" in lines, lines
    assert run.run_status().state is State.DONE and Ledger.read(run).segments == 2


def test_two_nodes_that_are_done_wait_for_nobody(tmp_path: Path) -> None:
    run = made(tmp_path, "true")
    assert [child.wait(180) for child in two_nodes(run)] == [0, 0]
    second = (run.folder / "program-nodes" / "1.json").stat().st_mtime  # written at its end
    assert time.time() - second < 25, "the first waits 30 s for one that does not end"
    assert run.run_status().state is State.DONE


@pytest.mark.slow  # 2 s in all
def test_a_failure_on_the_second_node_ends_the_first_and_is_the_runs(tmp_path: Path) -> None:
    run = made(tmp_path, "python", "-c", FAILS)
    assert [child.wait(180) for child in two_nodes(run)] == [1, 1]
    seen = run.run_status()
    assert seen.state is State.CRASHED and "on node 2 of 2: rank 1 of the program ended with exit code 7" in seen.reason


@pytest.mark.slow  # 2 s in all
def test_a_first_node_that_starts_nothing_lets_the_second_go(tmp_path: Path) -> None:
    run = made(tmp_path, "sleep", "60", time=10.0)
    Ledger(seconds=10.0).write(run)
    assert [child.wait(180) for child in two_nodes(run)] == [0, 0] and run.result_json.exists()
    refused = made(tmp_path, "no-such-program")
    codes = [child.wait(180) for child in two_nodes(refused)]
    assert codes == [2, 2] and "can't be started" in refused.run_status().reason


def test_the_second_node_alone_hears_a_stop_request(tmp_path: Path) -> None:
    run = made(tmp_path, "sleep", "60")
    (second,) = two_nodes(run, first=False, **job_deadline.environment("job", Bound(time.time() + 600)))
    run.ask_to_stop("enough", "job")
    assert second.wait(180) == 75


def test_ends_of_an_older_job_say_nothing(tmp_path: Path) -> None:
    run = made(tmp_path, "true")
    SegmentNodes(run, Place(1, 2, 1), "older").end(1, "it broke")
    assert SegmentNodes(run, Place(1, 2, 0), "newer").failed() is None
    SegmentNodes(run, Place(1, 2, 1), "newer").end(1, "it broke again")
    assert SegmentNodes(run, Place(1, 2, 0), "newer").failed() == NodeEnd(1, 1, "it broke again")


def test_a_torchrun_that_fails_before_its_workers_is_told_as_what_it_wrote(tmp_path: Path) -> None:
    """As where its port is taken: no worker tells an exit code, and the pipe for them is closed by then."""
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'address already in use' >&2\nexit 3\n")
    fake.chmod(0o755)
    run = made(tmp_path, str(fake), "train.py", launcher="torchrun")
    assert runner(run, "--tasks=2").wait(180) == 1
    found = run.run_status()
    assert found.state is State.CRASHED
    assert found.reason == "the program ended with exit code 3; it wrote last: address already in use"
