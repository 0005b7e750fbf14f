"""No deadline, stop request or status holds after its owner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ganhpc.core.files import write_json
from ganhpc.launch.node_agent import Segment
from ganhpc.launch.schedulers import slurm
from ganhpc.runs import file_owner, job_deadline, stop_requests
from ganhpc.runs.job_deadline import BOUND, Bound, Watched
from ganhpc.runs.run_folder import Run, State
from tests.conftest import Launch
from tests.helpers import ROOT, made, train

ME, OTHER = "slurm job 7 of here, restart 0", "slurm job 7 of here, restart 1"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv(file_owner.OWNER, ME)
    monkeypatch.delenv(BOUND, raising=False)
    return made(tmp_path, epochs=1)


# -- names --------------------------------------------------------------------------------------------------------------


def test_a_process_is_over_once_it_has_ended_and_its_number_alone_names_nobody() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = file_owner.process(child.pid)
    assert not file_owner.is_over(name) and not file_owner.is_over(file_owner.process(os.getpid()))
    later = name.replace("born ", "born 1")
    assert file_owner.is_over(later), "the same number, born at another time"
    assert file_owner.is_over(name.replace("in boot ", "in boot x")), "the same number before the machine's restart"
    child.kill()
    child.wait()
    assert file_owner.is_over(name)
    assert not file_owner.is_over(name.rsplit(" ", 1)[0] + " elsewhere"), "of other machines nothing is known"
    assert not file_owner.is_over("slurm job 5 of here, restart 0")


def test_a_process_of_another_container_with_the_same_boot_and_host_name_is_not_taken_for_dead(tmp_path: Path) -> None:
    before, space, after = file_owner.process(os.getpid()).partition(" on ")
    elsewhere = f"{before}1{space}{after}".replace("born ", "born 9")  # nobody here has that number and that birth
    assert not file_owner.is_over(elsewhere)
    stop_requests.ask(tmp_path, "warned", elsewhere)
    stop_requests.forget_old(tmp_path)
    assert stop_requests.reason_of(tmp_path, elsewhere) == "warned"
    assert file_owner.is_over(file_owner.process(os.getpid()).replace("born ", "born 9"))


def test_a_job_of_slurm_that_was_requeued_or_has_its_number_elsewhere_is_another_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ganhpc.launch.schedulers import oar, slurm

    names = set()
    for cluster, restart in (("a", ""), ("a", "1"), ("b", "")):
        monkeypatch.setenv("SLURM_JOB_ID", "5")
        monkeypatch.setenv("SLURM_CLUSTER_NAME", cluster)
        monkeypatch.setenv("SLURM_RESTART_COUNT", restart)
        names.add(slurm.job_name())
    monkeypatch.setenv("OAR_JOB_ID", "5")
    names.add(oar.job_name())
    monkeypatch.setenv("OAR_JOB_NAME", "ganhpc:cafe-1-00")
    names.add(oar.job_name())
    assert len(names) == 5 and "" not in names
    monkeypatch.delenv("SLURM_JOB_ID")
    assert slurm.job_name() == ""


def test_jobs_of_one_number_on_clusters_of_one_name_are_owners_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANHPC_SCHEDULER", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "linux")
    monkeypatch.setattr(slurm, "hosts", lambda: ["here"])
    run, parts = made(tmp_path), []
    for tag, server in (("aa-1", "ctl1"), ("bb-1", "ctl2")):
        monkeypatch.setenv("GANHPC_TAG", tag)
        said = f"SlurmctldHost[0] = {server}\nSlurmctldPort = 6817\n"
        monkeypatch.setattr(slurm, "_configuration", lambda said=said: said)
        parts.append(Segment(run, 0.0, 9e9, 1, True, False, ""))
    assert parts[0].owner == "slurm job 5 of linux, restart 0, aa-1" and parts[1].owner != parts[0].owner
    assert [part.claim.job.cluster for part in parts] == ["linux ctl1:6817", "linux ctl2:6817"]
    assert not parts[0].claim.job.is_same(parts[1].claim.job)


_NAMED = r"""
import ctypes, sys
ctypes.CDLL(None).prctl(15, b"caf\xe9 ) S 1", 0, 0, 0)
print("named", flush=True)
input()
"""


def test_a_number_that_a_process_with_a_name_in_latin_1_has_by_now_names_the_dead(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", _NAMED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout and child.stdout.readline() == "named\n"
    own = file_owner.process(child.pid)
    assert not file_owner.is_over(own) and file_owner.is_alive_here(own)
    before = own.replace("born ", "born 1")
    assert file_owner.is_over(before) and not file_owner.is_alive_here(before)
    stop_requests.ask(tmp_path, "of an earlier process", before)
    stop_requests.forget_old(tmp_path)
    assert not list(tmp_path.iterdir())
    child.kill()
    child.wait()


@pytest.mark.parametrize("digits", [11, 5000])
def test_a_number_that_no_process_can_have_is_nobodys(tmp_path: Path, digits: int) -> None:
    _, _, rest = file_owner.process(os.getpid()).partition(" born ")
    name = f"process {'1' * digits} born {rest}"
    assert not file_owner.is_alive_here(name) and not file_owner.is_over(name), "it is no name of ours"
    stop_requests.ask(tmp_path, "warned", name)
    stop_requests.forget_old(tmp_path)
    assert stop_requests.reason_of(tmp_path, name) == "warned"


# -- the bound ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"end": 1000.0, "last": true}',
        json.dumps({"end": 1000.0, "last": True, "owner": OTHER}),
        json.dumps({"end": 1000.0, "last": True, "owner": {"job": 7}}),
        json.dumps({"end": "x", "last": True, "owner": ME}),
        json.dumps({"end": True, "last": True, "owner": ME}),
        json.dumps({"end": 1000.0, "last": "no", "owner": ME}),
        json.dumps({"end": [], "last": [], "owner": ME}),
        f'{{"end": NaN, "last": true, "owner": "{ME}"}}',
        f'{{"end": 1{"0" * 400}, "last": true, "owner": "{ME}"}}',
        f'{{"end": {"9" * 5000}, "last": true, "owner": "{ME}"}}',
        f'{{"end": 1e999, "last": false, "owner": "{ME}"}}',
        "[" * 5000,
        "[]",
        '{"end": 100',
        "",
    ],
)
def test_a_bound_of_another_owner_of_none_or_damaged_binds_nobody(run: Run, text: str) -> None:
    run.deadline_json.write_text(text)
    assert Watched(run.deadline_json).now() == Bound()
    job_deadline.write(run, Bound(2000.0, True), ME)
    watched = Watched(run.deadline_json)
    assert watched.now() == Bound(2000.0, True)
    run.deadline_json.write_text(text)
    assert watched.now() == Bound(2000.0, True), "what its owner said holds until the owner says something else"
    job_deadline.write(run, Bound(3000.0, False), ME)
    assert watched.now() == Bound(3000.0, False)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_binds_nobody_and_nobody_waits_for_it(run: Run, make: Any) -> None:
    make(run.deadline_json)
    assert Watched(run.deadline_json).now() == Bound()


def test_the_first_bound_comes_with_the_environment_and_an_outer_ones_is_not_inherited(run: Run) -> None:
    given = job_deadline.environment(ME, Bound(2000.0, True))
    assert Watched(run.deadline_json, given).now() == Bound(2000.0, True)
    assert Watched(run.deadline_json, {BOUND: given[BOUND].replace(ME, OTHER)}).now() == Bound()
    assert Watched(run.deadline_json, {BOUND: "{"}).now() == Bound()
    assert {**given, **job_deadline.environment("me", None)} == {file_owner.OWNER: "me", BOUND: ""}


def test_the_node_side_binds_its_own_trainer_even_where_the_file_cannot_be_written(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GANHPC_SCHEDULER", raising=False)
    write_json(run.deadline_json, {"end": 1000.0, "last": True})
    part = Segment(run, time.time(), time.time() + 600, 1, False, False, "")
    env = part._environment()
    monkeypatch.setenv(file_owner.OWNER, env[file_owner.OWNER])
    assert Watched(run.deadline_json, env).now() == Bound(part.hard_end, False)
    part.hard_end -= 100
    part._write_deadline()
    assert Watched(run.deadline_json, env).now() == Bound(part.hard_end, False)


@pytest.mark.slow  # 7 s of processor time: processes of its own
@pytest.mark.parametrize(
    "left",
    [
        {"end": 1000.0, "last": True},
        {"end": 1000.0, "last": False},
        {"end": 1000.0, "last": True, "owner": OTHER, "said_by_scheduler": True},
    ],
)
def test_a_run_whose_job_was_killed_is_resumed_here_to_its_end(tmp_path: Path, launch: Launch, left: Any) -> None:
    run = made(tmp_path, epochs=None, time=3.0)
    write_json(run.deadline_json, left)
    run.ask_to_stop("a trainer of before")
    run.ask_to_stop("a job of before", OTHER)
    os.utime(run.stop_file, (time.time() + 1e6,) * 2)
    done = launch("resume", str(run.folder), "--on", "local", OMP_NUM_THREADS="1", GANHPC_OWNER=OTHER, GANHPC_BOUND=json.dumps(left))  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = run.result() or {}
    assert result["ended_by"] == "time" and result["train_seconds"] > 1.5, "it had its time"


# -- stop requests ------------------------------------------------------------------------------------------------------


def test_who_takes_a_run_forgets_requests_of_before_and_keeps_those_of_living_owners(run: Run) -> None:
    child = subprocess.Popen(["true"])
    gone = file_owner.process(child.pid)
    child.wait()
    mine, theirs = file_owner.process(os.getpid()), OTHER
    for name in ("", gone, mine, theirs):
        run.ask_to_stop(f"asked by {name}", name)
    assert run.stop_reason(mine) == f"asked by {mine}" and run.stop_reason(theirs) == f"asked by {theirs}"
    with run.hold():
        assert not run.stop_file.exists() and run.stop_reason(gone) is None
        assert run.stop_reason(mine) == f"asked by {mine}", "asked while this trainer was starting"
        assert run.stop_reason() is None
        run.ask_to_stop("now")
        assert run.stop_reason(gone) == "now", "whoever holds the run"
    stop_requests.forget(run.folder, mine)
    run.stop_file.unlink()
    assert run.stop_reason(mine) is None and run.stop_reason(theirs) is not None


def test_a_request_to_the_holder_is_made_only_where_there_is_one(run: Run) -> None:
    assert not run.ask_holder_to_stop("cancelled") and not run.stop_file.exists()
    code = f"import time, pathlib; from ganhpc.runs.run_folder import Run\nwith Run(pathlib.Path({str(run.folder)!r})).hold(): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout and holder.stdout.readline() == b"held\n"
    assert run.ask_holder_to_stop("cancelled") and run.stop_reason(ME) == "cancelled"
    holder.kill()
    holder.wait()
    assert not run.ask_holder_to_stop("cancelled")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_stops_nobody(run: Run, make: Any) -> None:
    make(run.stop_file)
    with run.hold():
        assert run.stop_reason(ME) is None


@pytest.mark.slow  # 6 s of processor time: processes of its own
def test_a_request_to_the_owner_stops_a_trainer_that_has_yet_to_start(run: Run) -> None:
    run.ask_to_stop("before it began", "the test")
    stopped = train(run, GANHPC_OWNER="the test")
    assert stopped.returncode == 75, stopped.stderr
    assert run.status()["reason"].startswith("before it began") and run.status()["owner"] == "the test"
    assert train(run, GANHPC_OWNER="the next").returncode == 0
    assert run.run_status().state is State.DONE


@pytest.mark.slow  # 2 s in all
@pytest.mark.parametrize("phase", ["processes start", "torch is to be loaded"])
def test_ctrl_c_while_the_trainer_starts_is_heard_whatever_lies_in_the_folder(tmp_path: Path, phase: str) -> None:
    run = made(tmp_path, epochs=100_000)
    mark = tmp_path / "mark"
    # In both it comes no further than to the loading of torch, however late the test looks.
    hook = {"HOOK_AT": "ganhpc.runs.cores:settle", "HOOK_DO": "wait", "HOOK_MARK": str(mark)}
    path = os.pathsep.join((str(ROOT / "tests" / "hooked"), str(ROOT)))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **hook}
    if phase == "processes start":
        mark = run.log
    run.ask_to_stop("a trainer of before")
    run.ask_to_stop("a job of before", OTHER)
    command = [sys.executable, "launch.py", "resume", str(run.folder), "--on", "local"]
    child = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE)
    limit = time.monotonic() + 120
    while not mark.exists() and time.monotonic() < limit:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert run.run_status().state is State.LOST, said
    assert run.status()["reason"].startswith("SIGINT at the launcher"), said
    assert [path.name for path in run.folder.glob("stop-*")] == [stop_requests.path_of(run.folder, OTHER).name], (
        "its own is removed"
    )


# -- the status ---------------------------------------------------------------------------------------------------------


def test_a_status_of_before_is_not_said_of_a_trainer_that_could_not_start(tmp_path: Path, launch: Launch) -> None:
    run = made(tmp_path, epochs=1)
    write_json(run.status_json, {"state": "crashed", "reason": "an old reason", "owner": OTHER})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(
        "import sys\nif 'ganhpc.train' in ' '.join(sys.orig_argv): sys.exit(1)\n"
    )
    done = launch("resume", str(run.folder), "--on", "local", PYTHONPATH=f"{tmp_path / 'broken'}")
    assert done.returncode != 0
    assert "could not start" in done.stdout and "an old reason" not in done.stdout.split("could not start")[0]
